namespace wkv::WKV_ISA_NAMESPACE {

inline void forget_v6(float* x, int size) {
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    store_part(x + i, one_minus_exp(exp(load_part(x + i))));
  });
}

inline void forget_v7(float* x, int size) {
  for_each_16(size, [&](int i, auto load_part, auto store_part) {
    store_part(x + i, one_minus_exp(mul(broadcast(0.60653066F), sigmoid(load_part(x + i)))));
  });
}

}  // namespace wkv::WKV_ISA_NAMESPACE
