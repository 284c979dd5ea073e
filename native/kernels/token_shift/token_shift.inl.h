namespace wkv::WKV_ISA_NAMESPACE {

inline void token_shift(const float* current, const float* previous, const float* mix, int size,
                        float* output) {
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    const F32x16 m = load_part(mix + i);
    const F32x16 rest = mul(load_part(previous + i), sub(broadcast(1.0F), m));
    store_part(output + i, fma(load_part(current + i), m, rest));
  });
}

}  // namespace wkv::WKV_ISA_NAMESPACE
