#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "simt/device_memory.h"
#include "simt/simt.h"

namespace wkv::test {

// An array in the simulated GPU's memory.
template <class Element>
class OnDevice {
 public:
  // Filled with bytes of 0xff.
  explicit OnDevice(std::size_t size) : size_(size), memory_(size * sizeof(Element)) {}
  OnDevice(const std::vector<Element>& values) : OnDevice(values.size()) {
    std::copy(values.begin(), values.end(), data());
  }

  Element* data() { return reinterpret_cast<Element*>(memory_.data()); }
  std::vector<Element> values() { return {data(), data() + size_}; }

 private:
  std::size_t size_;
  cuda::simt::DeviceMemory memory_;
};

// Calls body(text) for each order in which the threads of a block may take their turns.
template <class Body>
void in_every_order(Body body) {
  using cuda::simt::Order;
  for (const auto& [order, name] :
       {std::pair{Order::kForward, "forward"}, std::pair{Order::kBackward, "backward"},
        std::pair{Order::kShuffled, "shuffled"}}) {
    cuda::simt::set_order(order, 7);
    body(std::string(name));
  }
  cuda::simt::set_order(Order::kForward);
}

// Calls body(architecture) with each of the instruction sets that kernels are written for.
template <class Body>
void on_every_architecture(Body body) {
  for (const int architecture : {75, 80, 90}) {
    cuda::simt::set_architecture(architecture);
    body(architecture);
  }
}

}  // namespace wkv::test
