#pragma once

// What the garbage collector is told of the memory that sessions and states take. They share numbers until
// they change them, so each block is reported once, by the first that has it, and taken back by the last.

#include <napi.h>

#include <cstdint>
#include <map>
#include <memory>

#include "engine/state.h"

namespace wkv::addon {

// A block of numbers, which this does not keep: whoever steps a session looks whether others hold its block.
using NumbersBlock = std::weak_ptr<const void>;

// The blocks that objects of an environment have; used on its JavaScript thread only.
class ReportedBlocks {
 public:
  // Both return by how much the memory to report grows.
  std::int64_t add(const NumbersBlock& block, std::size_t bytes);
  std::int64_t remove(const NumbersBlock& block);

 private:
  struct Entry {
    int holders;
    std::int64_t bytes;
  };
  // Ordered by owners: their place in memory may be another block's by now.
  std::map<NumbersBlock, Entry, std::owner_less<>> blocks_;
};

// The block that one object has.
class ReportedNumbers {
 public:
  void set(Napi::Env env, const SessionState& state);
  void reset(Napi::BasicEnv env);

 private:
  std::shared_ptr<ReportedBlocks> blocks_;  // null: the object has none
  NumbersBlock block_;
};

}  // namespace wkv::addon
