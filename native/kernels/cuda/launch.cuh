#pragma once

// How kernels are launched, and what is known of the GPU before.

#include <cstddef>
#include <map>
#include <mutex>
#include <tuple>

#include "kernels/cuda/arch.cuh"

namespace wkv::cuda {

struct Grid {
  unsigned x;        // blocks
  unsigned y;        // blocks
  unsigned threads;  // of a block: whole warps
  std::size_t shared_bytes;
  // Whether the blocks go to all processors, as many to each. Otherwise those that are free first, as the
  // kernel before ends, take as many blocks as they have room for, which is good where blocks are short.
  bool spread = false;
  // Of a cluster of blocks (clusters.cuh), which divide the grid.
  unsigned cluster_x = 1;
  unsigned cluster_y = 1;
  // Whether all blocks run at the same time (whole_grid.cuh): no more than there is room for. The kernel
  // begins when the one before has ended.
  bool together = false;
};

#if defined(__CUDACC__)

inline std::size_t attribute_of_device(cudaDeviceAttr attribute) {
  int device = 0;
  int value = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&value, attribute, device);
  return static_cast<std::size_t>(value);
}

// What a block may have of it.
inline std::size_t max_shared_bytes() { return attribute_of_device(cudaDevAttrMaxSharedMemoryPerBlockOptin); }
inline int processor_count() {
  const auto count = static_cast<int>(attribute_of_device(cudaDevAttrMultiProcessorCount));
  return count > 0 ? count : 1;  // as after an error, which the launch reports
}

// Whether kernels are there that call await_previous_kernel(), and a GPU that needs them to.
inline bool kernels_overlap() {
  constexpr int kFirst = 900;
  constexpr int kArchitectures[] = {__CUDA_ARCH_LIST__};
  int device = 0;
  int major = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  for (const int architecture : kArchitectures) {
    if (architecture >= kFirst) return major * 100 >= kFirst;
  }
  return false;
}

// Whether kernels are there that copy by the copy engine (clusters.cuh), and a GPU that has one.
inline bool has_bulk_copies() { return kernels_overlap(); }

// There is no way to say how many blocks a processor may take at most, other than to ask for so much shared
// memory that one more has no room. It is at most little more than half of a processor's, which every GPU has
// for one block.
inline std::size_t shared_bytes_of(const Grid& grid) {
  if (!grid.spread) return grid.shared_bytes;
  const std::size_t processors = attribute_of_device(cudaDevAttrMultiProcessorCount);
  const std::size_t bytes = attribute_of_device(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  if (processors == 0) return grid.shared_bytes;  // as after an error, which the launch reports
  const std::size_t blocks = (std::size_t{grid.x} * grid.y + processors - 1) / processors;  // of a processor
  const std::size_t too_much = bytes / (blocks + 1) + 1;
  return too_much > grid.shared_bytes ? too_much : grid.shared_bytes;
}

// What the runtime is told of a launch.
class LaunchConfig {
 public:
  template <class Arguments>
  LaunchConfig(void (*kernel)(Arguments), const Grid& grid, cudaStream_t stream,
               bool overlap = kernels_overlap()) {
    constexpr std::size_t kWithoutAsking = std::size_t{48} << 10;
    config_.gridDim = dim3(grid.x, grid.y);
    config_.blockDim = grid.threads;
    config_.dynamicSmemBytes = shared_bytes_of(grid);
    config_.stream = stream;
    config_.attrs = attributes_;
    if (config_.dynamicSmemBytes > kWithoutAsking) {
      // Always the same for a kernel, as other threads may launch it, too.
      const std::size_t most = grid.spread ? attribute_of_device(cudaDevAttrMaxSharedMemoryPerBlockOptin)
                                           : config_.dynamicSmemBytes;
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(most));
    }
    if (grid.together) {
      add(cudaLaunchAttributeCooperative).cooperative = 1;
    } else if (overlap) {
      add(cudaLaunchAttributeProgrammaticStreamSerialization).programmaticStreamSerializationAllowed = 1;
    }
    if (grid.cluster_x * grid.cluster_y > 1) {
      auto& dimensions = add(cudaLaunchAttributeClusterDimension).clusterDim;
      dimensions.x = grid.cluster_x;
      dimensions.y = grid.cluster_y;
      dimensions.z = 1;
    }
  }
  LaunchConfig(const LaunchConfig&) = delete;
  LaunchConfig& operator=(const LaunchConfig&) = delete;

  const cudaLaunchConfig_t* get() const { return &config_; }

 private:
  cudaLaunchAttributeValue& add(cudaLaunchAttributeID id) {
    cudaLaunchAttribute& attribute = attributes_[config_.numAttrs++];
    attribute.id = id;
    return attribute.val;
  }

  cudaLaunchAttribute attributes_[2]{};
  cudaLaunchConfig_t config_{};
};

template <class Arguments>
void launch(void (*kernel)(Arguments), const Grid& grid, cudaStream_t stream, const Arguments& arguments) {
  cudaLaunchKernelEx(LaunchConfig(kernel, grid, stream).get(), kernel, arguments);
}

// By device, kernel and the cluster's blocks.
using ClusterGrid = std::tuple<int, const void*, unsigned, unsigned>;
inline std::mutex cluster_mutex;
inline std::map<ClusterGrid, int> cluster_counts;

// How many clusters of the grid run at the same time. Asked for once: a step has hundreds of launches.
template <class Arguments>
int clusters_at_once(void (*kernel)(Arguments), const Grid& grid) {
  int device = 0;
  cudaGetDevice(&device);
  const ClusterGrid asked{device, reinterpret_cast<const void*>(kernel), grid.cluster_x, grid.cluster_y};
  const std::lock_guard lock{cluster_mutex};
  const auto known = cluster_counts.find(asked);
  if (known != cluster_counts.end()) return known->second;
  int count = 0;
  const bool failed_before = cudaPeekAtLastError() != cudaSuccess;
  const LaunchConfig config(kernel, grid, nullptr, false);
  if (cudaOccupancyMaxActiveClusters(&count, kernel, config.get()) != cudaSuccess) {
    if (!failed_before) static_cast<void>(cudaGetLastError());  // nothing was launched
    return 1;
  }
  return cluster_counts[asked] = count > 0 ? count : 1;
}

#else

inline std::size_t max_shared_bytes() { return simt::max_shared_bytes(); }
inline int processor_count() { return simt::kProcessors; }
inline bool has_bulk_copies() { return simt::architecture() >= 90; }
template <class Arguments>
int clusters_at_once(void (*)(Arguments), const Grid& grid) {
  const int blocks = static_cast<int>(grid.cluster_x * grid.cluster_y);
  return simt::kProcessors / blocks;
}

// `name` is what messages call the kernel: the function that launches it.
template <class Arguments>
void launch(void (*kernel)(Arguments), const Grid& grid, cudaStream_t, const Arguments& arguments,
            const char* name = __builtin_FUNCTION()) {
  simt::put_on_stream([kernel, grid, arguments, name] {
    simt::Run run{name,
                  static_cast<int>(grid.x),
                  static_cast<int>(grid.y),
                  static_cast<int>(grid.threads),
                  grid.shared_bytes,
                  static_cast<int>(grid.together ? grid.x : grid.cluster_x),
                  static_cast<int>(grid.together ? grid.y : grid.cluster_y)};
    run.together = grid.together;
    run.arguments = &arguments;
    run.kernel = reinterpret_cast<void (*)()>(kernel);
    run.call = [](const simt::Run& self) {
      reinterpret_cast<void (*)(Arguments)>(self.kernel)(*static_cast<const Arguments*>(self.arguments));
    };
    simt::launch(run);
  });
}

#endif

}  // namespace wkv::cuda
