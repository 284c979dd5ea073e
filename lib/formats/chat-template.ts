const key = 'tokenizer.chat_template';

type Metadata = Readonly<Record<string, string>>;

/** What a model's file says of how conversations are written: a name, or a program for a template engine. */
export const chatTemplateOf = (metadata: Metadata): string | undefined => metadata[key];

/** Metadata that say so in other files. */
export const chatTemplateEntry = (template: string | undefined): Metadata =>
  template === undefined ? {} : { [key]: template };
