#pragma once

// What the engine knows of an architecture: its dimensions, the layout of a session's state, and the step
// that takes tokens of many sessions at once from ids to logits. One file per architecture implements it.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/cpu/thread_pool.h"
#include "engine/precision.h"
#include "engine/sampler.h"
#include "kernels/kernel_table.h"

namespace wkv {

// The numbers of a state, per layer: the parts one after another. In f16 every group has its own scale.
struct StatePart {
  // The group of a part that stays f32.
  static constexpr std::uint32_t kExact = 0;

  const char* name;
  std::uint32_t count;
  std::uint32_t group;
};
struct StateLayout {
  std::uint32_t layers = 0;
  std::vector<StatePart> parts;

  // Names aside: those follow from the architecture.
  bool has_shape_of(const StateLayout& other) const {
    return layers == other.layers &&
           std::equal(parts.begin(), parts.end(), other.parts.begin(), other.parts.end(),
                      [](const StatePart& a, const StatePart& b) {
                        return a.count == b.count && a.group == b.group;
                      });
  }

  std::size_t numbers() const {
    std::size_t per_layer = 0;
    for (const StatePart& part : parts) per_layer += part.count;
    return per_layer * layers;
  }
};

struct ModelInfo {
  std::string architecture;  // "rwkv4", "rwkv5", "rwkv6" or "rwkv7"
  std::string version;       // "5.2"
  int layers = 0;
  int embedding = 0;
  int heads = 0;
  int head_size = 0;
  int feed_forward = 0;
  int vocabulary = 0;
  std::int64_t parameters = 0;
  Precision weights = Precision::kF32;
  std::uint64_t weight_bytes = 0;  // memory that the weights take
  // On a device: how many states fit into what weights and buffers leave of its memory.
  std::optional<std::uint64_t> sessions_that_fit = {};
  StateLayout state;
};

// Which tokens of a segment want logits.
enum class Logits : std::uint8_t { kNone, kLast, kAll };

// The numbers of a state in a device's memory. All members throw ERR_WKV_DEVICE; they may outlive the
// network.
class DeviceNumbers {
 public:
  virtual ~DeviceNumbers() = default;
  // The same numbers as floats, which is what the network steps.
  virtual std::shared_ptr<DeviceNumbers> copy() const = 0;
  // The same numbers as pack() (state.h) makes them, in half the memory; null where there is no room for
  // them.
  virtual std::shared_ptr<DeviceNumbers> pack() const = 0;
  virtual bool is_packed() const = 0;
  // As floats, or as pack() makes them if they are packed.
  virtual void read(void* numbers) const = 0;
  virtual void write(const float* numbers) = 0;  // not where they are packed
  // The logits that the last DeviceDraw was from, [vocabulary].
  virtual std::vector<float> read_logits() const = 0;
};

// The token after a segment's last, drawn by a network that draws().
struct DeviceDraw {
  const Sampling* sampling;
  TokenCounts counts;
  double random;
  std::optional<std::uint32_t> token;  // out: as sample() returns it
};

// A run of tokens of one session, processed in order. Its state is read and replaced: `state`, or `device`
// where the network keeps states on one.
struct Segment {
  std::span<const std::uint32_t> tokens;
  float* state;
  Logits logits;
  DeviceNumbers* device = nullptr;
  DeviceDraw* draw = nullptr;  // then the last token's logits stay with `device`, and none are wanted
};

// Receives the logits of a token, `vocabulary` floats, valid during the call. Called from several threads.
using LogitsSink = std::function<void(std::size_t segment, std::size_t token, const float* logits)>;

// Asked between layers: true if nobody wants the result any more.
using Abandon = std::function<bool()>;

class Workspace {
 public:
  virtual ~Workspace() = default;
};

class Network {
 public:
  // Tokens of one step, over all segments, on the CPU.
  static constexpr std::size_t kMaxTokens = kBlockTokens;

  virtual ~Network() = default;

  // Tokens of one step, over all segments.
  virtual std::size_t max_tokens() const { return kMaxTokens; }

  virtual const ModelInfo& info() const = 0;

  // Buffers for one step at a time. Throws std::bad_alloc.
  virtual std::unique_ptr<Workspace> create_workspace(unsigned lanes) const = 0;

  // Writes the state of a session that has seen nothing.
  virtual void initialize(float* state) const = 0;

  // Whether its device was lost: it computes nothing any more, whatever becomes of the device.
  virtual bool is_lost() const { return false; }

  // Where the network keeps states on a device: the numbers of one that has seen nothing. Else null.
  virtual std::shared_ptr<DeviceNumbers> create_numbers() const { return nullptr; }
  // Whether the numbers are such.
  virtual bool owns(const DeviceNumbers&) const { return false; }

  // Whether it draws tokens with these options, where so many tokens are counted.
  virtual bool draws(const Sampling&, std::size_t) const { return false; }

  // One step. The bits of each segment's results do not depend on the other segments, on how a session's
  // tokens are cut into segments, or on `lanes`. Returns false if it was abandoned; the segments' states are
  // then undefined. Token ids must be below the vocabulary's size. Throws std::bad_alloc
  // before it changes anything, or ERR_WKV_DEVICE: then too, or the device refuses the states from then on.
  virtual bool step(std::span<const Segment> segments, Workspace& workspace, ThreadPool& pool, unsigned lanes,
                    const LogitsSink& sink, const Abandon& abandon) const = 0;
};

}  // namespace wkv
