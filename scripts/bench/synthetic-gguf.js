'use strict';

// Models for llama.cpp with random weights in Q8_0: RWKV-6 ("Finch") in the shape of an RWKV-5.2 model, as llama.cpp
// knows no RWKV-5, and Transformers in published shapes. Names and dimensions are those that llama.cpp loads. What is
// two-dimensional and small is not quantized there either.
const { writeGguf } = require('./gguf');
const { feedForward, headSize, shapes, transformers, vocabulary } = require('./shapes');

const help = `Usage: node scripts/bench/synthetic-gguf.js SHAPE FILE

Writes FILE (.gguf) with random weights in Q8_0: for the shape 0.4B, 1.5B, 3B or 7B (8 GB) an RWKV-6, for
${Object.keys(transformers).join(' or ')} a Transformer, with the vocabulary of RWKV.`;

const q8 = (name, ...dimensions) => ({ name: `${name}.weight`, type: 'q8', dimensions });
const f32 = (name, [from, to], ...dimensions) => ({ name, type: 'f32', dimensions, from, to });
const scale = (name, width) => f32(`${name}.weight`, [0.9, 1.1], width);
const norm = (name, width) => [scale(name, width), f32(`${name}.bias`, [-0.1, 0.1], width)];

/** Ranks of the LoRA matrices that make the token shift and the decay depend on the token, as published. */
const extra = (embedding) => ({ mix: embedding < 4096 ? 32 : 64, decay: embedding < 4096 ? 64 : 128 });

/** Finch has the same matrices as Eagle, and some small ones more. */
function rwkv6Tensors({ layers, embedding: d }) {
  const f = feedForward(d);
  const { mix, decay } = extra(d);
  const layer = (_, i) => {
    const at = (name) => `blk.${i}.${name}`;
    return [
      ...norm(at('attn_norm'), d),
      ...norm(at('attn_norm_2'), d),
      f32(at('time_mix_w1.weight'), [-0.01, 0.01], d, 5 * mix),
      f32(at('time_mix_w2.weight'), [-0.01, 0.01], mix, d, 5),
      f32(at('time_mix_lerp_x.weight'), [0, 1], d, 1, 1),
      f32(at('time_mix_lerp_fused.weight'), [0, 1], d, 1, 1, 5),
      f32(at('time_mix_first.weight'), [-1, 1], headSize, d / headSize),
      f32(at('time_mix_decay.weight'), [-6, 1], d),
      f32(at('time_mix_decay_w1.weight'), [-0.01, 0.01], d, decay),
      f32(at('time_mix_decay_w2.weight'), [-0.01, 0.01], decay, d),
      ...['key', 'value', 'receptance', 'gate', 'output'].map((name) => q8(at(`time_mix_${name}`), d, d)),
      ...norm(at('time_mix_ln'), d),
      f32(at('channel_mix_lerp_k.weight'), [0, 1], d, 1, 1),
      f32(at('channel_mix_lerp_r.weight'), [0, 1], d, 1, 1),
      q8(at('channel_mix_key'), d, f),
      q8(at('channel_mix_value'), f, d),
      q8(at('channel_mix_receptance'), d, d),
    ];
  };
  return [
    q8('token_embd', d, vocabulary),
    ...norm('token_embd_norm', d),
    ...Array.from({ length: layers }, layer).flat(),
    ...norm('output_norm', d),
    q8('output', d, vocabulary),
  ];
}

function rwkv6Metadata({ layers, embedding }) {
  const { mix, decay } = extra(embedding);
  return {
    'rwkv6.context_length': ['uint32', 1 << 20],
    'rwkv6.embedding_length': ['uint32', embedding],
    'rwkv6.block_count': ['uint32', layers],
    'rwkv6.feed_forward_length': ['uint32', feedForward(embedding)],
    'rwkv6.attention.head_count': ['uint32', 0],
    'rwkv6.attention.layer_norm_epsilon': ['float32', 1e-5],
    'rwkv6.rescale_every_n_layers': ['uint32', 0],
    'rwkv6.wkv.head_size': ['uint32', headSize],
    'rwkv6.time_mix_extra_dim': ['uint32', mix],
    'rwkv6.time_decay_extra_dim': ['uint32', decay],
  };
}

/** Llama's tensors. The embedding is the output's matrix, too, as in models of this size. */
function llamaTensors({ layers, embedding: d, keyHeads, feedForward: f }) {
  const layer = (_, i) => {
    const at = (name) => `blk.${i}.${name}`;
    return [
      scale(at('attn_norm'), d),
      q8(at('attn_q'), d, d),
      q8(at('attn_k'), d, keyHeads * headSize),
      q8(at('attn_v'), d, keyHeads * headSize),
      q8(at('attn_output'), d, d),
      scale(at('ffn_norm'), d),
      q8(at('ffn_gate'), d, f),
      q8(at('ffn_up'), d, f),
      q8(at('ffn_down'), f, d),
    ];
  };
  return [
    q8('token_embd', d, vocabulary),
    ...Array.from({ length: layers }, layer).flat(),
    scale('output_norm', d),
  ];
}

function llamaMetadata({ layers, embedding, keyHeads, feedForward }) {
  return {
    'llama.context_length': ['uint32', 1 << 17],
    'llama.embedding_length': ['uint32', embedding],
    'llama.block_count': ['uint32', layers],
    'llama.feed_forward_length': ['uint32', feedForward],
    'llama.attention.head_count': ['uint32', embedding / headSize],
    'llama.attention.head_count_kv': ['uint32', keyHeads],
    'llama.attention.layer_norm_rms_epsilon': ['float32', 1e-5],
    'llama.rope.dimension_count': ['uint32', headSize],
    'llama.rope.freq_base': ['float32', 500_000],
  };
}

/**
 * Texts of as many tokens, in llama.cpp's escapes, no two alike: 256 single bytes, so that any text can be encoded,
 * then pairs of bytes.
 */
function tokenTexts() {
  const byte = (value) => `\\x${value.toString(16).padStart(2, '0')}`;
  return Array.from({ length: vocabulary }, (_, i) =>
    i < 256 ? byte(i) : byte((i - 256) >> 8) + byte((i - 256) & 255),
  );
}

function write(path, architecture, metadata, tensors) {
  const all = {
    'general.architecture': ['string', architecture],
    'general.name': ['string', 'random weights'],
    'general.file_type': ['uint32', 7], // mostly Q8_0
    ...metadata,
    'tokenizer.ggml.model': ['string', 'rwkv'],
    'tokenizer.ggml.tokens': ['strings', tokenTexts()],
  };
  writeGguf(path, all, tensors);
}

const writeRwkv6 = (shape, path) => write(path, 'rwkv6', rwkv6Metadata(shape), rwkv6Tensors(shape));
const writeTransformer = (shape, path) => write(path, 'llama', llamaMetadata(shape), llamaTensors(shape));

function main([shape, path]) {
  const known = Object.hasOwn(shapes, shape ?? '');
  if (shape === '--help' || path === undefined || !(known || Object.hasOwn(transformers, shape))) {
    console.log(help);
    process.exitCode = shape === '--help' ? 0 : 2;
    return;
  }
  if (known) writeRwkv6(shapes[shape], path);
  else writeTransformer(transformers[shape], path);
}

if (require.main === module) main(process.argv.slice(2));

module.exports = { writeRwkv6, writeTransformer };
