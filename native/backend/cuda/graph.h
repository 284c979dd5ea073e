#pragma once

#include "backend/cuda/memory.h"

namespace wkv::cuda {

// What was put on a stream once, to be put there again at a fraction of the cost. Throws Failed.
class Graph {
 public:
  // What put() puts on the stream is kept and not done.
  template <class Put>
  Graph(const Stream& stream, const char* doing, Put put) {
    check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), doing);
    cudaGraph_t graph = nullptr;
    try {
      put();
    } catch (...) {
      static_cast<void>(cudaStreamEndCapture(stream.get(), &graph));
      if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
      // That the capture came to nothing is no error of what follows.
      static_cast<void>(cudaGetLastError());
      throw;
    }
    // A launch that failed is in no graph.
    const cudaError_t launched = cudaGetLastError();
    const cudaError_t captured = cudaStreamEndCapture(stream.get(), &graph);
    cudaError_t error = launched != cudaSuccess ? launched : captured;
    if (error == cudaSuccess) error = cudaGraphInstantiate(&graph_, graph, 0);
    if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    // Or its first launch would be what finds no memory.
    if (error == cudaSuccess) error = cudaGraphUpload(graph_, stream.get());
    if (error != cudaSuccess && graph_ != nullptr) static_cast<void>(cudaGraphExecDestroy(graph_));
    check(error, doing);
  }
  ~Graph() {
    if (graph_ != nullptr) static_cast<void>(cudaGraphExecDestroy(graph_));
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Whether there was memory to put it there; where there was none, nothing of it is done.
  bool run(const Stream& stream, const char* doing) const {
    const cudaError_t error = cudaGraphLaunch(graph_, stream.get());
    if (error == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
    check(error, doing);
    return true;
  }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace wkv::cuda
