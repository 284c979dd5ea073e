'use strict';

// Makes the figures of docs/performance.md from docs/performance.json: a chart, and the tables between two comments of
// the page. Only what was measured is shown.
const fs = require('node:fs');
const path = require('node:path');

const { root } = require('../lib/run');

const help = `Usage: node scripts/bench/chart.js [--check]

Writes docs/performance.svg, and the tables of docs/performance.md, from docs/performance.json.
  --check  writes nothing, and fails where they are not what the figures make`;

const files = {
  figures: 'docs/performance.json',
  chart: 'docs/performance.svg',
  page: 'docs/performance.md',
};
const begin = '<!-- figures, made by scripts/bench/chart.js -->';
const end = '<!-- end of the figures -->';

/** The charts with what was measured of them; those without anything are left out. */
function measured({ charts }) {
  return charts
    .map((chart) => ({ ...chart, bars: chart.bars.filter(({ value }) => value !== null) }))
    .filter(({ bars }) => bars.length > 0);
}

const middle = (values) => (values[0] + values.at(-1)) / 2;

/** [16, 18.3] as '16 to 18.3'. */
function rangeText(values) {
  const [low, high] = [values[0], values.at(-1)].map((value) => value.toLocaleString('en-US'));
  return low === high ? low : `${low} to ${high}`;
}

/** A part of its ceiling, '0.75 to 0.8'; the lowest value was beside the lowest ceiling. */
function partText({ value, ceiling }) {
  if (ceiling === null) return '';
  const parts = [value[0] / ceiling[0], value.at(-1) / ceiling.at(-1)].sort((a, b) => a - b);
  return rangeText(parts.map((part) => Number(part.toFixed(2))));
}

// What the chart looks like, in its own units. It has a background of its own, so that it can be read on any page.
const layout = { width: 800, margin: 24, labels: 250, figures: 190, title: 60, row: 26, bar: 16, gap: 12 };
const style = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 14px }
  .conditions { font-size: 12px }
  .unit, .conditions, .figure tspan { fill: #57606a }
  .background { fill: #ffffff; stroke: #d0d7de }
  .ceiling { fill: #d8dee4 }
  .own { fill: #0969da }
  .peer { fill: #bf8700 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .unit, .conditions, .figure tspan { fill: #9198a1 }
    .background { fill: #0d1117; stroke: #3d444d }
    .ceiling { fill: #30363d }
    .own { fill: #4493f8 }
    .peer { fill: #d29922 }
  }
`;

const escapeText = (text) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
const rounded = (value) => Number(value.toFixed(1));

/** The title with what the chart is of, where there are several of the title: 'Decoding, 7B'. */
const fullTitle = ({ title, of }) => (of === undefined ? title : `${title}, ${of}`);

function barsOf(chart, top) {
  const { unit, conditions, bars } = chart;
  const title = fullTitle(chart);

  const { width, margin, labels, figures, row, bar } = layout;
  const left = margin + labels;
  const space = width - margin - figures - left;
  const most = Math.max(...bars.flatMap(({ value, ceiling }) => [...value, ...(ceiling ?? [])]));
  const length = (values) => rounded((middle(values) / most) * space);
  const lines = [
    `<text class="title" x="${margin}" y="${top + 24}">${escapeText(title)} <tspan class="unit">${escapeText(unit)}</tspan></text>`,
    `<text class="conditions" x="${margin}" y="${top + 43}">${escapeText(conditions)}</text>`,
  ];
  bars.forEach(({ name, value, ceiling }, i) => {
    const y = top + layout.title + i * row;
    const baseline = y + bar - 3;
    const rectangle = (kind, values) =>
      `<rect class="${kind}" x="${left}" y="${y}" width="${length(values)}" height="${bar}" rx="2"/>`;
    lines.push(`<text x="${left - 10}" y="${baseline}" text-anchor="end">${escapeText(name)}</text>`);
    if (ceiling !== null) lines.push(rectangle('ceiling', ceiling));
    lines.push(rectangle(name.startsWith('wkv') ? 'own' : 'peer', value));
    const of = ceiling === null ? '' : ` <tspan>of ${escapeText(rangeText(ceiling))}</tspan>`;
    const x = rounded(left + Math.max(length(value), length(ceiling ?? value)) + 8);
    lines.push(`<text class="figure" x="${x}" y="${baseline}">${escapeText(rangeText(value))}${of}</text>`);
  });
  return lines;
}

/** The chart: a bar for each figure, before the lighter one of its ceiling. */
function makeChart(data) {
  const lines = [];
  let top = layout.gap;
  for (const chart of measured(data)) {
    lines.push(...barsOf(chart, top));
    top += layout.title + chart.bars.length * layout.row + layout.gap;
  }
  const { width } = layout;
  const height = top;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>What was measured, beside its ceilings</title>
<style>${style}</style>
<rect class="background" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="6"/>
${lines.join('\n')}
</svg>
`;
}

/** Rows of cells as a table of Markdown, columns aligned as prettier does. */
function tableOf(rows) {
  const widths = rows[0].map((_, column) => Math.max(3, ...rows.map((row) => row[column].length)));
  const line = (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`;
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  const [head, ...body] = rows.map(line);
  return [head, rule, ...body].join('\n');
}

/** Where and how charts were measured, each thing once. */
function sourceText(charts) {
  const commands = new Map();
  for (const { conditions, command } of charts) {
    const those = commands.get(conditions) ?? new Set();
    commands.set(conditions, those.add(`\`${command}\``));
  }
  return [...commands].map(([conditions, those]) => `${conditions}; ${[...those].join(', ')}.`).join(' ');
}

/** A section of the page, of the charts of one title. */
function makeTable(charts) {
  const [{ title, unit, ceiling }] = charts;
  const known = charts.some(({ bars }) => bars.some((bar) => bar.ceiling !== null));
  const several = charts.some(({ of }) => of !== undefined);
  const head = [...(several ? [''] : []), '', unit, ...(known ? ['ceiling', 'part of it'] : [])];
  const rows = charts.flatMap(({ of, bars }) =>
    bars.map((bar) => [
      ...(several ? [of] : []),
      bar.name,
      rangeText(bar.value),
      ...(known ? [bar.ceiling === null ? '' : rangeText(bar.ceiling), partText(bar)] : []),
    ]),
  );
  const source = `${sourceText(charts)}${known ? ` Ceiling: ${ceiling}.` : ''}`;
  return `### ${title}\n\n${source}\n\n${tableOf([head, ...rows])}`;
}

/** The sections of the page with the figures. */
function makeTables(data) {
  const charts = measured(data);
  const titles = [...new Set(charts.map(({ title }) => title))];
  return titles.map((title) => makeTable(charts.filter((chart) => chart.title === title))).join('\n\n');
}

/** The page with the tables of these figures. */
function makePage(page, data) {
  const [before, rest] = page.split(begin);
  const after = rest?.split(end)[1];
  if (after === undefined) throw new Error(`${files.page} has no "${begin}" and "${end}"`);
  return `${before}${begin}\n\n${makeTables(data)}\n\n${end}${after}`;
}

function main(args) {
  if (args.includes('--help')) {
    console.log(help);
    return;
  }
  const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');
  const data = JSON.parse(read(files.figures));
  const page = fs.existsSync(path.join(root, files.page)) ? read(files.page) : '';
  const made = { [files.chart]: makeChart(data), [files.page]: makePage(page, data) };
  for (const [file, text] of Object.entries(made)) {
    const present = fs.existsSync(path.join(root, file)) ? read(file) : '';
    if (present === text) continue;
    if (args.includes('--check')) {
      console.error(`${file} is not what ${files.figures} makes: run node scripts/bench/chart.js`);
      process.exitCode = 1;
    } else {
      fs.writeFileSync(path.join(root, file), text);
      console.log(file);
    }
  }
}

if (require.main === module) main(process.argv.slice(2));

module.exports = { makeChart, makePage, makeTables };
