#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/network.h"

namespace wkv::test {

// A model whose state is the sum of the tokens and whose logits are that sum plus 0, 1, 2, 3. It keeps a
// record of its steps, and a test can hold it in the middle of one.
class SumNetwork final : public Network {
 public:
  SumNetwork() {
    info_.vocabulary = 4;
    info_.state = {1, {{"wkv", 1, 1}}};
  }

  const ModelInfo& info() const override { return info_; }
  std::unique_ptr<Workspace> create_workspace(unsigned) const override {
    return std::make_unique<Workspace>();
  }
  void initialize(float* state) const override { *state = 0; }

  bool step(std::span<const Segment> segments, Workspace&, ThreadPool&, unsigned, const LogitsSink& sink,
            const Abandon& abandon) const override {
    {
      std::unique_lock lock{mutex_};
      steps_.emplace_back();
      for (const Segment& segment : segments) steps_.back().push_back(segment.tokens.size());
      changed_.notify_all();
      while (held_) {
        changed_.wait_for(lock, std::chrono::milliseconds(1));
        if (abandon()) return false;
      }
    }
    for (std::size_t i = 0; i < segments.size(); ++i) {
      for (std::size_t token = 0; token < segments[i].tokens.size(); ++token) {
        *segments[i].state += static_cast<float>(segments[i].tokens[token]);
        const float logits[] = {*segments[i].state, *segments[i].state + 1, *segments[i].state + 2,
                                *segments[i].state + 3};
        const bool last = token + 1 == segments[i].tokens.size();
        if (segments[i].logits == Logits::kAll || (segments[i].logits == Logits::kLast && last)) {
          sink(i, token, logits);
        }
      }
    }
    return true;
  }

  // Steps wait from now on, until release().
  void hold() const {
    const std::lock_guard lock{mutex_};
    held_ = true;
  }
  void release() const {
    const std::lock_guard lock{mutex_};
    held_ = false;
    changed_.notify_all();
  }
  void wait_for_steps(std::size_t count) const {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return steps_.size() >= count; });
  }

  // Per step, how many tokens of each of its sessions.
  std::vector<std::vector<std::size_t>> steps() const {
    const std::lock_guard lock{mutex_};
    return steps_;
  }

 private:
  ModelInfo info_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable std::vector<std::vector<std::size_t>> steps_;
  mutable bool held_ = false;
};

}  // namespace wkv::test
