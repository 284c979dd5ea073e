import { Sampler, type SamplerOptions } from '../../lib/index';
import { ReferenceSampler, type ReferenceSampling } from '../reference/sampler';
import { logitsOfStep } from './support';

const configurations: [
  name: string,
  deviation: number,
  count: number,
  options: ReferenceSampling & SamplerOptions,
][] = [
  ['the defaults', 3, 200, {}],
  ['the defaults, of flat logits', 1, 60, {}],
  ['temperature 0', 2, 60, { temperature: 0 }],
  ['top-k', 2, 40, { topP: 1, topK: 40 }],
  ['min-p', 2, 60, { topP: 1, minP: 0.05 }],
  [
    'the temperature first',
    3,
    40,
    { temperature: 0.8, samplerOrder: ['temperature', 'topK', 'topP', 'minP', 'typicalP'] },
  ],
  ['typical-p', 3, 20, { topP: 1, typicalP: 0.7 }],
  ['all tokens', 3, 60, { topP: 1 }],
];

// Where thousands of tokens remain the sampler adds up weights in single precision, which moves the borders between
// tokens by some 1e-7: one draw in thousands may fall there. With these seeds none does.
test.each(configurations)(
  'With %s 65,536 ids are drawn as the reference draws them',
  (_name, deviation, count, options) => {
    const sampler = new Sampler({ ...options, seed: 5 });
    const reference = new ReferenceSampler(options, 5n);
    const logitsOf = logitsOfStep(65_536, deviation, 9);
    const steps = Array.from({ length: count }, (_, step) => logitsOf(step));
    expect(steps.map((logits) => sampler.sample(logits))).toEqual(
      steps.map((logits) => reference.sample(logits)),
    );
  },
);
