#include "simt/runtime.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>
#include <sstream>
#include <string>

#include "simt/device_memory.h"
#include "simt/simt.h"

struct SimulatedGraph {
  std::vector<std::function<void()>> work;
};

namespace {

using wkv::cuda::simt::DeviceMemory;
using wkv::cuda::simt::Machine;

constexpr int kRuntime = 13'000;

Machine machine_of_environment() {
  const Machine usual;
  std::map<std::string, std::int64_t> values = {
      {"driver", usual.driver}, {"devices", usual.devices},       {"architecture", usual.architecture},
      {"memory", usual.memory}, {"old_device", usual.old_device}, {"lost_after", usual.lost_after}};
  const char* const variable = std::getenv("WKV_SIMULATED_GPU");
  std::istringstream settings(variable == nullptr ? "" : variable);
  for (std::string name; std::getline(settings, name, '='); settings.ignore(1, ',')) {
    // A test that means something else must not pass.
    if (!values.contains(name) || !(settings >> values[name])) std::abort();
  }
  const auto number = [&](const char* name) { return static_cast<int>(values.at(name)); };
  wkv::cuda::simt::set_architecture(number("architecture"));
  return {.driver = number("driver"),
          .devices = number("devices"),
          .architecture = number("architecture"),
          .memory = static_cast<std::size_t>(values.at("memory")),
          .old_device = number("old_device"),
          .lost_after = number("lost_after")};
}

std::mutex mutex;  // guards what follows
Machine machine = machine_of_environment();
std::map<void*, std::unique_ptr<DeviceMemory>> blocks;
std::size_t taken = 0;
int waits = 0;
std::size_t graphs = 0;

thread_local std::unique_ptr<SimulatedGraph> captured;
thread_local int current_device = 0;
// Of a call that failed, until somebody asks.
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

int architecture_of(int device) { return device == machine.old_device ? 61 : machine.architecture; }

cudaError_t state_of_machine() {
  if (machine.driver < kRuntime) return cudaErrorInsufficientDriver;
  if (machine.devices == 0) return cudaErrorNoDevice;
  return machine.lost_after >= 0 && waits > machine.lost_after ? cudaErrorLaunchFailure : cudaSuccess;
}

// A block of a copy lies within what was taken, from `place` on.
bool is_taken(const void* place, std::size_t bytes) {
  auto after = blocks.upper_bound(const_cast<void*>(place));
  if (after == blocks.begin()) return false;
  const auto& [begin, block] = *--after;
  const auto offset = static_cast<std::size_t>(static_cast<const char*>(place) - static_cast<char*>(begin));
  return offset <= block->size() && bytes <= block->size() - offset;
}

cudaError_t take(void** memory, std::size_t bytes, bool of_device) {
  const std::lock_guard lock{mutex};
  if (const cudaError_t state = state_of_machine(); state != cudaSuccess) return state;
  if (of_device && bytes > machine.memory - taken) return remember(cudaErrorMemoryAllocation);
  try {
    auto block = std::make_unique<DeviceMemory>(bytes);
    *memory = block->data();
    blocks.emplace(*memory, std::move(block));
    taken += of_device ? bytes : 0;
    return cudaSuccess;
  } catch (const std::bad_alloc&) {
    return cudaErrorMemoryAllocation;
  }
}

cudaError_t give_back(void* memory, bool of_device) {
  const std::lock_guard lock{mutex};
  if (memory == nullptr) return cudaSuccess;
  const auto found = blocks.find(memory);
  if (found == blocks.end()) return cudaErrorInvalidValue;
  taken -= of_device ? found->second->size() : 0;
  blocks.erase(found);
  return cudaSuccess;
}

}  // namespace

namespace wkv::cuda::simt {

void put_on_stream(std::function<void()> work) {
  if (captured == nullptr) {
    work();
  } else {
    captured->work.push_back(std::move(work));
  }
}

std::size_t graphs_in_use() {
  const std::lock_guard lock{mutex};
  return graphs;
}

void set_machine(const Machine& wanted) {
  const std::lock_guard lock{mutex};
  machine = wanted;
  waits = 0;
}

std::size_t blocks_in_use() {
  const std::lock_guard lock{mutex};
  return blocks.size();
}

}  // namespace wkv::cuda::simt

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice:
      return "cudaErrorNoKernelImageForDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
  }
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t) { return "as simulated"; }
cudaError_t cudaGetLastError() {
  const std::lock_guard lock{mutex};
  const cudaError_t last = std::exchange(last_error, cudaSuccess);
  return last != cudaSuccess ? last : state_of_machine();
}
cudaError_t cudaDriverGetVersion(int* version) {
  const std::lock_guard lock{mutex};
  *version = machine.driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kRuntime;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  const std::lock_guard lock{mutex};
  *count = machine.devices;
  return state_of_machine();
}
cudaError_t cudaSetDevice(int device) {
  const std::lock_guard lock{mutex};
  if (const cudaError_t state = state_of_machine(); state != cudaSuccess) return state;
  if (device < 0 || device >= machine.devices) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  const std::lock_guard lock{mutex};
  std::strcpy(properties->name, "Simulated GPU");
  properties->totalGlobalMem = machine.memory;
  return state_of_machine();
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  const std::lock_guard lock{mutex};
  const int architecture = architecture_of(device);
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? architecture / 10 : architecture % 10;
  return state_of_machine();
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  const std::lock_guard lock{mutex};
  attributes->binaryVersion = architecture_of(current_device);
  // Kernels are built from 7.5 on.
  return remember(attributes->binaryVersion < 75 ? cudaErrorNoKernelImageForDevice : state_of_machine());
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::lock_guard lock{mutex};
  *total = machine.memory;
  *free = machine.memory - taken;
  return state_of_machine();
}
cudaError_t cudaMalloc(void** memory, std::size_t bytes) { return take(memory, bytes, true); }
cudaError_t cudaFree(void* memory) { return give_back(memory, true); }
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) { return take(memory, bytes, false); }
cudaError_t cudaFreeHost(void* memory) { return give_back(memory, false); }
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
  const std::lock_guard lock{mutex};
  if (const cudaError_t state = state_of_machine(); state != cudaSuccess) return state;
  if (kind != cudaMemcpyHostToDevice && !is_taken(from, bytes)) return cudaErrorInvalidValue;
  if (kind != cudaMemcpyDeviceToHost && !is_taken(to, bytes)) return cudaErrorInvalidValue;
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int byte, std::size_t bytes, cudaStream_t) {
  const std::lock_guard lock{mutex};
  if (const cudaError_t state = state_of_machine(); state != cudaSuccess) return state;
  if (!is_taken(memory, bytes)) return cudaErrorInvalidValue;
  std::memset(memory, byte, bytes);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  const std::lock_guard lock{mutex};
  return state_of_machine();
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  const std::lock_guard lock{mutex};
  ++waits;
  return state_of_machine();
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  const std::lock_guard lock{mutex};
  if (const cudaError_t state = state_of_machine(); state != cudaSuccess) return state;
  captured = std::make_unique<SimulatedGraph>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  const std::lock_guard lock{mutex};
  if (captured == nullptr) return cudaErrorInvalidValue;
  ++graphs;
  *graph = captured.release();
  return state_of_machine();
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  const std::lock_guard lock{mutex};
  if (const cudaError_t state = state_of_machine(); state != cudaSuccess) return state;
  if (machine.graph_error != cudaSuccess) return remember(machine.graph_error);
  ++graphs;
  *executable = new SimulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  const std::lock_guard lock{mutex};
  return state_of_machine();
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const std::lock_guard lock{mutex};
  --graphs;
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return cudaGraphDestroy(executable); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  {
    const std::lock_guard lock{mutex};
    if (const cudaError_t state = state_of_machine(); state != cudaSuccess) return state;
    if (machine.launch_error != cudaSuccess) return remember(machine.launch_error);
  }
  for (const std::function<void()>& each : executable->work) each();
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = nullptr;
  const std::lock_guard lock{mutex};
  return state_of_machine();
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  const std::lock_guard lock{mutex};
  return state_of_machine();
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  const std::lock_guard lock{mutex};
  ++waits;
  return state_of_machine();
}
