#include "test/emulated/avx512.h"

#include "kernels/isa/avx512vnni.cpp"
