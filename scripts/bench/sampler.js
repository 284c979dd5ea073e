'use strict';

require('../lib/require-node').requireNode();

const help = `Usage: node scripts/bench/sampler.js [DEVIATION...]

Measures how long the stand-alone Sampler takes to draw a token of 65,536 on one thread, in microseconds. The logits
are normal numbers with a standard deviation of 2 and, above them, twenty peaks as a model's next words have them; or,
for each DEVIATION, normal numbers and nothing else: of 1 they leave top-p half of all tokens, of 4 a few. They are
others from draw to draw. Needs npm run build.

Example:
  node scripts/bench/sampler.js 1 2 4`;

const VOCABULARY = 65_536;
const STEPS = 16; // so many different logits, in turn
const DRAWS = 500;

const settings = {
  greedy: { temperature: 0 },
  default: {},
  'top-k 40': { topP: 1, topK: 40 },
  'min-p 0.05': { topP: 1, minP: 0.05 },
  'typical-p 0.9': { topP: 1, typicalP: 0.9 },
  'top-p 1': { topP: 1 },
  'temperature first': {
    temperature: 0.8,
    samplerOrder: ['temperature', 'topP', 'topK', 'minP', 'typicalP'],
  },
};

/** Random numbers in (0, 1) that are the same at every run. */
function randomNumbers() {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}

function logitsOf(random, deviation, peaks) {
  const logits = Float32Array.from(
    { length: VOCABULARY },
    () => deviation * Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random()),
  );
  for (let i = 0; i < peaks; i++) {
    logits[Math.floor(random() * VOCABULARY)] = deviation * (4 + 4 * random());
  }
  return logits;
}

function measure(Sampler, options, steps) {
  const sampler = new Sampler({ seed: 1, ...options });
  // So many tokens have been counted before the first draw that is measured.
  for (let i = 0; i < 300; i++) sampler.sample(steps[i % STEPS]);
  const times = Array.from({ length: DRAWS }, (_, i) => {
    const start = performance.now();
    sampler.sample(steps[i % STEPS]);
    return (performance.now() - start) * 1e3;
  });
  times.sort((a, b) => a - b);
  return { least: times[0], median: times[DRAWS / 2] };
}

function main(args) {
  if (args.includes('--help')) {
    console.log(help);
    return;
  }
  const { Sampler } = require('../../dist/sampler.js');
  const all = args.map((deviation) => [`deviation ${deviation}`, Number(deviation), 0]);
  if (all.length === 0) all.push(['peaks', 2, 20]);
  for (const [name, deviation, peaks] of all) {
    const random = randomNumbers();
    const steps = Array.from({ length: STEPS }, () => logitsOf(random, deviation, peaks));
    console.log(
      `${name}: microseconds per draw of ${VOCABULARY} tokens, the median of ${DRAWS} and the least`,
    );
    for (const [setting, options] of Object.entries(settings)) {
      const { median, least } = measure(Sampler, options, steps);
      console.log(`${setting.padEnd(20)} ${median.toFixed(0).padStart(6)} ${least.toFixed(0).padStart(6)}`);
    }
  }
}

main(process.argv.slice(2));
