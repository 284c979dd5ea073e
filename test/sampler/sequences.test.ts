import { Sampler, type SamplerOptions } from '../../lib/index';
import { ReferenceSampler, type ReferenceSampling } from '../reference/sampler';
import { logitsOfStep } from './support';

/** What both samplers understand. */
type Options = ReferenceSampling & SamplerOptions;

const temperatureFirst = ['temperature', 'topP', 'topK', 'minP', 'typicalP'] as const;

const configurations: [name: string, options: Options][] = [
  ['the defaults', {}],
  ['temperature 0', { temperature: 0 }],
  ['all tokens', { topP: 1 }],
  ['all tokens, at a temperature', { topP: 1, temperature: 0.6 }],
  ['top-k', { topP: 1, topK: 7, temperature: 1.3 }],
  ['min-p', { topP: 1, minP: 0.04, temperature: 2 }],
  ['typical-p', { topP: 1, typicalP: 0.6 }],
  ['strong penalties that fade', { presencePenalty: 1.5, frequencyPenalty: 0.9, penaltyDecay: 0.9 }],
  ['penalties below 0', { presencePenalty: -0.5, frequencyPenalty: -0.1, penaltyExempt: [0, 5, 100] }],
  ['bias and bans', { logitBias: { 0: 3, 100: -Infinity, 7: -2.5, 1e6: 4 }, bannedTokens: [5, 200, 1e6] }],
  ['the temperature first', { samplerOrder: temperatureFirst, temperature: 1.7, topP: 0.7, topK: 50 }],
  [
    'everything',
    {
      samplerOrder: ['minP', 'typicalP', 'temperature', 'topK', 'topP'],
      temperature: 0.8,
      topP: 0.9,
      topK: 30,
      minP: 0.01,
      typicalP: 0.95,
      penaltyExempt: [100],
      bannedTokens: [3],
    },
  ],
];

describe.each(configurations)('With %s', (_name, options) => {
  test.each([1n, 2n ** 64n - 1n])('300 ids are drawn as the reference draws them, seed %p', (seed) => {
    const sampler = new Sampler({ ...options, seed });
    const reference = new ReferenceSampler(options, seed);
    const logitsOf = logitsOfStep(300, 2, Number(seed % 1000n));
    const steps = Array.from({ length: 400 }, (_, step) => logitsOf(step));
    expect(steps.map((logits) => sampler.sample(logits))).toEqual(
      steps.map((logits) => reference.sample(logits)),
    );
  });
});
