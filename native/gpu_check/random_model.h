#pragma once

// Models of any shape with random weights, put into a library tensor by tensor: the same shape and seed give
// the same weights.

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "gpu_check/library.h"

namespace wkv::gpu_check {

// Numbers that are the same with every C++ library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}
  std::uint32_t word() {
    state_ ^= state_ << 13U;
    state_ ^= state_ >> 7U;
    state_ ^= state_ << 17U;
    return static_cast<std::uint32_t>(state_ >> 32U);
  }
  float number(float low, float high) {
    return low + (high - low) * static_cast<float>(word() >> 8U) / 16'777'216.0F;
  }

 private:
  std::uint64_t state_;
};

// Of a matrix of 8 or 4 bits, that leaves outputs of the size of its inputs.
std::vector<unsigned char> random_panels(Random& random, int bits, int rows, int columns, int group);

class RandomModel {
 public:
  // Matrices of one form share their numbers where `share` is set: large models then load sooner. They have
  // so many bits, 8 or 4, but the head always has 8.
  RandomModel(const Library& library, const WkvCudaShape& shape, bool share, int bits = 8);
  ~RandomModel();
  RandomModel(const RandomModel&) = delete;
  RandomModel& operator=(const RandomModel&) = delete;

  WkvCudaModel* get() const { return model_; }
  const WkvCudaShape& shape() const { return shape_; }
  std::uint64_t weight_bytes() const { return weight_bytes_; }
  double load_seconds() const { return load_seconds_; }
  std::size_t page_floats() const;

 private:
  void put_vector(int name, int layer, int count, float low, float high);
  void put_matrix(int name, int layer, int rows, int columns);
  void put_lora_matrix(int name, int layer, int rows, int columns);
  void put_all();

  const WkvCudaApi& api_;
  WkvCudaShape shape_;
  bool share_;
  int bits_;
  Random random_;
  WkvCudaModel* model_ = nullptr;
  WkvCudaFailure failure_{};
  std::map<std::tuple<int, int, int>, std::vector<unsigned char>> panels_;  // by rows, columns and bits
  std::uint64_t weight_bytes_ = 0;
  double load_seconds_ = 0;
};

}  // namespace wkv::gpu_check
