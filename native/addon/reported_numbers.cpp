#include "addon/reported_numbers.h"

#include <new>
#include <utility>

#include "addon/environment.h"

namespace wkv::addon {

namespace {

NumbersBlock block_of(const SessionState& state) {
  if (state.numbers != nullptr) return state.numbers;
  if (state.packed != nullptr) return state.packed;
  return state.device;
}

// With the last logits, which come and go with the numbers.
std::size_t bytes_of(const SessionState& state) { return state.bytes() + state.vocabulary * sizeof(float); }

void report(Napi::BasicEnv env, std::int64_t bytes) {
  if (bytes != 0) Napi::MemoryManagement::AdjustExternalMemory(env, bytes);
}

}  // namespace

std::int64_t ReportedBlocks::add(const NumbersBlock& block, std::size_t bytes) {
  const auto [entry, is_new] = blocks_.try_emplace(block, Entry{0, static_cast<std::int64_t>(bytes)});
  entry->second.holders += 1;
  return is_new ? entry->second.bytes : 0;
}

std::int64_t ReportedBlocks::remove(const NumbersBlock& block) {
  const auto entry = blocks_.find(block);
  if (--entry->second.holders > 0) return 0;
  const std::int64_t bytes = entry->second.bytes;
  blocks_.erase(entry);
  return -bytes;
}

void ReportedNumbers::set(Napi::Env env, const SessionState& state) {
  NumbersBlock block = block_of(state);
  const bool same = !block.owner_before(block_) && !block_.owner_before(block);
  if (blocks_ != nullptr && same) return;
  const std::shared_ptr<ReportedBlocks>& blocks = Environment::of(env).blocks();
  std::int64_t growth = 0;
  try {
    growth = blocks->add(block, bytes_of(state));
  } catch (const std::bad_alloc&) {
    // The collector only knows less then.
    reset(env);
    return;
  }
  if (blocks_ != nullptr) growth += blocks_->remove(block_);
  blocks_ = blocks;
  block_ = std::move(block);
  // In one call: what is added may have the collector begin, whatever is taken away after it.
  report(env, growth);
}

void ReportedNumbers::reset(Napi::BasicEnv env) {
  if (blocks_ == nullptr) return;
  report(env, blocks_->remove(block_));
  blocks_ = nullptr;
  block_.reset();
}

}  // namespace wkv::addon
