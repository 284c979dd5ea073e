import type { Model } from '../../lib/index';

/** A passage in tokens. */
export interface Passage {
  context: Uint32Array;
  target: Uint32Array;
}

export interface Score {
  logProbability: number;
  greedy: boolean;
}

export interface Summary {
  passages: number;
  accuracy: number;
  accuracyStandardError: number;
  perplexity: number;
}

export const published: { accuracy: number; perplexity: number };
export function parseLambada(content: string, name: string): { context: string; target: string }[];
export function judge(logits: Float32Array, token: number): { logProbability: number; isBest: boolean };
export function scorePassage(model: Model, passage: Passage, signal?: AbortSignal): Promise<Score>;
export function scorePassages(
  model: Model,
  passages: readonly Passage[],
  options: { sessions: number; signal?: AbortSignal; onScored: (score: Score) => void },
): Promise<void>;
export function summarize(results: readonly Score[]): Summary;
