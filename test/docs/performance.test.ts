import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { makeChart, makePage, makeTables, type Bar, type Figures } from '../../scripts/bench/chart';

const root = resolve(__dirname, '../..');
const read = (name: string): string => readFileSync(join(root, 'docs', name), 'utf8');

const chartOf = (title: string, bars: readonly Bar[]): Figures => ({
  charts: [
    { title, unit: 'tokens/s', ceiling: 'reading', conditions: 'Here', command: 'npm run bench', bars },
  ],
});
const some: Bar = { name: 'wkv & some', value: [16, 18.3], ceiling: [20, 24.4] };
const unmeasured: Bar = { name: 'another', value: null, ceiling: null };

describe('docs/performance.md', () => {
  const figures = JSON.parse(read('performance.json')) as Figures;

  test('has the chart and the tables that its figures make', () => {
    expect(read('performance.svg')).toBe(makeChart(figures));
    expect(read('performance.md')).toBe(makePage(read('performance.md'), figures));
  });

  test('has figures that are positive, in order, and below their ceilings', () => {
    for (const { bars, conditions } of figures.charts) {
      for (const { value, ceiling } of bars) {
        if (value === null) continue;
        expect(conditions).not.toBeNull();
        expect(value[0]).toBeGreaterThan(0);
        expect(value.at(-1)).toBeGreaterThanOrEqual(value[0]!);
        if (ceiling !== null) expect(ceiling[0]).toBeGreaterThan(value[0]!);
      }
    }
  });
});

describe('the figures', () => {
  test('are a table with the part of the ceiling', () => {
    expect(makeTables(chartOf('Decoding', [some]))).toBe(
      [
        '### Decoding\n',
        'Here; `npm run bench`. Ceiling: reading.\n',
        '|            | tokens/s   | ceiling    | part of it  |',
        '| ---------- | ---------- | ---------- | ----------- |',
        '| wkv & some | 16 to 18.3 | 20 to 24.4 | 0.75 to 0.8 |',
      ].join('\n'),
    );
  });

  test('of one title are one table, which says what each is of', () => {
    const [chart] = chartOf('Decoding', [some]).charts;
    const charts = [
      { ...chart!, of: '3B', command: 'npm run bench -- 3B' },
      { ...chart!, of: '7B' },
    ];
    expect(makeTables({ charts })).toBe(
      [
        '### Decoding\n',
        'Here; `npm run bench -- 3B`, `npm run bench`. Ceiling: reading.\n',
        '|     |            | tokens/s   | ceiling    | part of it  |',
        '| --- | ---------- | ---------- | ---------- | ----------- |',
        '| 3B  | wkv & some | 16 to 18.3 | 20 to 24.4 | 0.75 to 0.8 |',
        '| 7B  | wkv & some | 16 to 18.3 | 20 to 24.4 | 0.75 to 0.8 |',
      ].join('\n'),
    );
    expect(makeChart({ charts })).toMatch(/>Decoding, 3B .*>Decoding, 7B /s);
  });

  test('leave out what was not measured', () => {
    const both = chartOf('Decoding', [some, unmeasured]);
    expect(makeTables(both)).toBe(makeTables(chartOf('Decoding', [some])));
    expect(makeChart(both)).toBe(makeChart(chartOf('Decoding', [some])));
    expect(makeTables(chartOf('Nothing', [unmeasured]))).toBe('');
    expect(makeChart(chartOf('Nothing', [unmeasured]))).not.toContain('Nothing');
  });

  test('are bars as long as their numbers', () => {
    const bars = [
      { name: 'wkv', value: [10], ceiling: [40] },
      { name: 'peer', value: [20], ceiling: null },
    ];
    const chart = makeChart(chartOf('Decoding', bars));
    const width = (kind: string): number =>
      Number(new RegExp(`class="${kind}".* width="(.*?)"`).exec(chart)![1]);
    expect(width('own') / width('ceiling')).toBeCloseTo(0.25, 2);
    expect(width('peer') / width('ceiling')).toBeCloseTo(0.5, 2);
  });

  test('cannot add anything to the chart but text', () => {
    const chart = makeChart(chartOf('<script>', [{ name: '"</text>', value: [1], ceiling: null }]));
    expect(chart).not.toMatch(/<script|"<\/text>/);
  });

  test('need their place in the page', () => {
    expect(() => makePage('# A page', chartOf('Decoding', [some]))).toThrow(/figures, made by/);
  });
});
