import { corrupt } from './failures';
import type { TensorDirectory } from './tensor-directory';

/** The metadata in which a model's file says how conversations are written: a name, or a program for a template engine. */
export const chatTemplateKey = 'tokenizer.chat_template';

/** The longest in UTF-16 code units, or as a file in bytes. */
export const maxChatTemplate = 1 << 20;

/**
 * The metadata that say the same in a file that a model is converted to.
 *
 * @throws WkvError `ERR_WKV_FORMAT` for one that is too long
 */
export function chatTemplateEntry({ metadata, files }: TensorDirectory): Readonly<Record<string, string>> {
  const template = metadata[chatTemplateKey];
  if (template === undefined) return {};
  if (template.length > maxChatTemplate) {
    throw corrupt(files[0]?.path ?? '', 'the chat template is too long', {
      expected: `at most ${maxChatTemplate} characters`,
      found: `${template.length} characters`,
    });
  }
  return { [chatTemplateKey]: template };
}
