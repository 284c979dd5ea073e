import './bundled';

export { WkvError, type WkvErrorCode, type WkvErrorDetails } from './errors';
export { Chat } from './chat';
export type { ChatMessage } from './chat/messages';
export type { ChatCompletion, ChatPart } from './chat/reply';
export type { Template, TemplateName } from './chat/templates';
export type { ChatOptions } from './chat/create';
export type { CudaDevice, UnusableCudaDevice } from './cuda';
export type { Device } from './device';
export { convertModel, type Conversion, type ConvertOptions, type ConvertProgress } from './convert';
export { StreamingDecoder } from './decoder';
export { demoModel } from './demo-model';
export type {
  Completion,
  FinishReason,
  GeneratedPart,
  GenerateOptions,
  TokenLogprobs,
  Usage,
} from './generate';
export type { TokenMask, TokenMaskFunction } from './generation/token-mask';
export {
  kernels,
  type GemmInt8Arguments,
  type Int8Matrix,
  type KernelFeatures,
  type QuantizeInt8Options,
  type Wkv5Arguments,
} from './kernels';
export type { EvaluateProgress } from './evaluate-progress';
export { loadModel, type LoadOptions, type LoadProgress } from './load-model';
export { Model, type ModelInfo, type ModelStatistics, type SessionOptions } from './model';
export { Sampler, type SamplerOptions } from './sampler';
export type { SamplerStep, SamplingOptions } from './sampling';
export { Session, type EvaluateOptions, type ForkOptions, type Input } from './session';
export { State, type SerializeOptions, type StatePrecision } from './state';
export type { StateLayoutOptions, StateTensor } from './state-exchange';
export type { StateLayout } from './state-layouts';
export { Tokenizer, type TokenizerLike } from './tokenizer';
export type { TunedStateOptions } from './tuned-state';
