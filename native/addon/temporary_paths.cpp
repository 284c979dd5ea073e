#include "addon/temporary_paths.h"

#include <algorithm>
#include <cstdio>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/guard.h"
#include "engine/wide_path.h"

namespace wkv::addon {

namespace {

// A file, or a directory that is empty.
void remove_path(const std::string& path) {
#if defined(_WIN32)
  const std::wstring wide = wide_path(path);
  if (DeleteFileW(wide.c_str()) == 0) static_cast<void>(RemoveDirectoryW(wide.c_str()));
#else
  static_cast<void>(std::remove(path.c_str()));
#endif
}

// addTemporaryPath(path: string): void
Napi::Value add_call(const Napi::CallbackInfo& info) {
  Environment::of(info.Env()).temporary_paths.add(require_string(info[0], "path"));
  return info.Env().Undefined();
}

// forgetTemporaryPath(path: string): void
Napi::Value forget_call(const Napi::CallbackInfo& info) {
  Environment::of(info.Env()).temporary_paths.forget(require_string(info[0], "path"));
  return info.Env().Undefined();
}

}  // namespace

void TemporaryPaths::forget(const std::string& path) {
  paths_.erase(std::remove(paths_.begin(), paths_.end(), path), paths_.end());
}

void TemporaryPaths::remove_all() {
  for (; !paths_.empty(); paths_.pop_back()) remove_path(paths_.back());
}

void init_temporary_paths(Napi::Env env, Napi::Object exports) {
  exports.Set("addTemporaryPath", Napi::Function::New<guarded<add_call>>(env));
  exports.Set("forgetTemporaryPath", Napi::Function::New<guarded<forget_call>>(env));
}

}  // namespace wkv::addon
