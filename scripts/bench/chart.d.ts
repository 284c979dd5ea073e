export interface Bar {
  name: string;
  /** One number, or the lowest and the highest; null is not measured. */
  value: readonly number[] | null;
  ceiling: readonly number[] | null;
}

export interface Figures {
  charts: readonly {
    title: string;
    /** What it is of, where there are several of the title: they become one table. */
    of?: string;
    unit: string;
    ceiling: string;
    conditions: string | null;
    command: string;
    bars: readonly Bar[];
  }[];
}

export function makeChart(figures: Figures): string;
export function makeTables(figures: Figures): string;
export function makePage(page: string, figures: Figures): string;
