#include "engine/model_loader.h"

#include <bit>
#include <chrono>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "engine/fingerprint.h"
#include "engine/hash.h"

namespace wkv {

namespace {

std::string key_of(const TensorDirectory& directory, const LoadOptions& options) {
  std::string key;
  for (const SourceFile& file : directory.files) {
    if (file.temporary) continue;
    for (const std::uint64_t part :
         {file.device, file.inode, file.size, static_cast<std::uint64_t>(file.modified_ns)}) {
      key += std::to_string(part) + ":";
    }
  }
  // The same files may be read as different models: another index names other tensors of the same shards.
  std::string tensors;
  for (const TensorEntry& tensor : directory.tensors) {
    tensors += tensor.name + shape_text(tensor.shape) + shape_text(tensor.strides) + name_of(tensor.type) +
               std::to_string(tensor.file) + ":" + std::to_string(tensor.offset) + "\n";
  }
  key += hexadecimal(xxh64(tensors.data(), tensors.size())) + ":";
  key += name_of(options.weights.value());
  if (options.cuda == nullptr) {
    if (directory.packed) key += options.mmap ? ":mapped" : ":copied";
  } else {
    key += ":cuda" + std::to_string(reinterpret_cast<std::uintptr_t>(options.cuda)) + ":" +
           std::to_string(options.cuda_device);
  }
  return key + ":" + std::to_string(std::bit_cast<std::uint32_t>(options.group_norm_epsilon));
}

// With the weights that are kept where the options leave it open: they may have been asked for by name
// before.
LoadOptions resolved(const TensorDirectory& directory, LoadOptions options) {
  options.weights = inspect_weights(directory, options).weights;
  return options;
}

// The loaded models of the process, and which are being loaded.
class Registry {
 public:
  // The shared model, or null: with the duty to call finish(), with null where loading fails, if it is to
  // begin.
  std::shared_ptr<const LoadedModel> get(const std::string& key, bool begin,
                                         const std::atomic<bool>& cancelled) {
    for (;;) {
      {
        const std::lock_guard lock{mutex_};
        const auto found = entries_.find(key);
        if (found != entries_.end()) {
          if (auto model = found->second.usable()) return model;
        }
        if (found == entries_.end() || !found->second.loading) {
          if (begin) entries_[key].loading = true;
          return nullptr;
        }
      }
      if (cancelled.load()) throw Cancelled{};
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
  }

  bool has(const std::string& key) {
    const std::lock_guard lock{mutex_};
    const auto found = entries_.find(key);
    return found != entries_.end() && (found->second.loading || found->second.usable() != nullptr);
  }

  void finish(const std::string& key, const std::shared_ptr<const LoadedModel>& model) {
    const std::lock_guard lock{mutex_};
    entries_[key] = {model, false};
    std::erase_if(entries_, [](const auto& e) { return !e.second.loading && e.second.model.expired(); });
  }

 private:
  struct Entry {
    std::weak_ptr<const LoadedModel> model;
    bool loading = false;

    // Null where nobody has it any more, or nobody can do anything with it.
    std::shared_ptr<const LoadedModel> usable() const {
      auto shared = model.lock();
      return shared != nullptr && shared->network->is_lost() ? nullptr : shared;
    }
  };
  std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
};

Registry& registry() {
  static Registry* const models = new Registry;  // outlives every thread that may still be loading
  return *models;
}

}  // namespace

bool is_loaded(const TensorDirectory& directory, const LoadOptions& options) {
  return registry().has(key_of(directory, resolved(directory, options)));
}

std::shared_ptr<const LoadedModel> load_model(const TensorDirectory& directory, const LoadOptions& options,
                                              unsigned threads, const std::atomic<bool>& cancelled,
                                              const LoadProgress& progress) {
  const std::string key = key_of(directory, resolved(directory, options));
  auto shared = registry().get(key, !options.only_shared, cancelled);
  if (shared != nullptr || options.only_shared) return shared;
  try {
    LoadedWeights loaded = load_weights(directory, options, threads, cancelled, progress);
    std::string print = directory.packed ? directory.packed->fingerprint
                                         : fingerprint(loaded.network->info(), directory, loaded.hashes);
    auto model =
        std::make_shared<const LoadedModel>(LoadedModel{std::move(loaded.network), std::move(print)});
    registry().finish(key, model);
    return model;
  } catch (...) {
    registry().finish(key, nullptr);
    throw;
  }
}

}  // namespace wkv
