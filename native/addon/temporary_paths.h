#pragma once

#include <napi.h>

#include <string>
#include <utility>
#include <vector>

namespace wkv::addon {

// Files and directories that must not outlive the environment. A worker that is terminated runs no JavaScript
// any more, not even that of its `exit` event.
class TemporaryPaths {
 public:
  // A directory before what is in it.
  void add(std::string path) { paths_.push_back(std::move(path)); }
  void forget(const std::string& path);
  void remove_all();

 private:
  std::vector<std::string> paths_;
};

void init_temporary_paths(Napi::Env env, Napi::Object exports);

}  // namespace wkv::addon
