#include "addon/environment.h"

#include <exception>
#include <string>
#include <utility>

namespace wkv::addon {

Environment::Environment(Napi::Env env) : arrays(env) {
  wake_ = Wake::New(env, "wkv", 0, 1, this);
  wake_.Unref(env);
  // Hooks run in reverse order: this one before the thread-safe function's own, so that no thread can use it
  // after it is gone.
  env.AddCleanupHook([](Environment* self) { self->close(); }, this);
}

Environment::~Environment() = default;

void Environment::begin(Napi::Env env) {
  if (pending_++ == 0) wake_.Ref(env);
}

void Environment::end(Napi::Env env) {
  if (--pending_ == 0) wake_.Unref(env);
}

void Environment::post(Tasks& tasks) {
  append(tasks);
  wake();
}

void Environment::append(Tasks& tasks) {
  const std::lock_guard lock{mutex_};
  tasks_.splice(tasks_.end(), tasks);
}

void Environment::wake() {
  const std::lock_guard lock{mutex_};
  if (tasks_.empty() || scheduled_) return;
  scheduled_ = wake_.NonBlockingCall() == napi_ok;
}

void Environment::stage(Engine& engine, std::shared_ptr<Evaluation> evaluation) {
  staged_[&engine].push_back(std::move(evaluation));
}

void Environment::flush() {
  for (auto& [engine, evaluations] : staged_) engine->submit(evaluations);
  staged_.clear();
}

void Environment::call_back(Napi::Env env, Napi::Function, Environment* self, void*) {
  // Null when the environment is going; close() has run the tasks then.
  if (env != nullptr) self->run_tasks(env);
}

void Environment::run_tasks(Napi::Env env) {
  Tasks tasks;
  {
    const std::lock_guard lock{mutex_};
    tasks.swap(tasks_);
    scheduled_ = false;
  }
  for (const auto& task : tasks) {
    try {
      task(env);
    } catch (const Napi::Error&) {
      // JavaScript can no longer run here: its worker is being terminated. The other tasks still free things.
      continue;
    }
  }
}

void Environment::run_in_background(std::function<void()> cancel, std::function<void()> work) {
  Background& entry = background_.emplace_back();
  try {
    entry.cancel = std::move(cancel);
    entry.end.emplace_back([this, &entry](Napi::Env env) {
      if (env == nullptr) return;
      entry.thread.join();
      background_.remove_if([&](const Background& other) { return &other == &entry; });
    });
    entry.thread = std::thread([this, &entry, work = std::move(work)] {
      work();
      post(entry.end);
    });
  } catch (const std::exception& error) {
    background_.pop_back();
    throw Error("ERR_WKV_MEMORY", std::string("the system has no more threads: ") + error.what());
  }
}

void Environment::run_in_turn(std::function<void()> work) {
  constexpr int kMaxWorkers = 4;
  {
    const std::lock_guard lock{mutex_};
    queue_.push_back(std::move(work));
    if (workers_ == kMaxWorkers) return;
    ++workers_;
  }
  try {
    run_in_background([] {}, [this] { work_off_queue(); });
  } catch (...) {
    const std::lock_guard lock{mutex_};
    --workers_;
    // Other workers come to it, or have come already.
    if (workers_ > 0 || queue_.empty()) return;
    queue_.clear();
    throw;
  }
}

void Environment::work_off_queue() {
  for (;;) {
    std::function<void()> work;
    {
      const std::lock_guard lock{mutex_};
      if (queue_.empty()) {
        --workers_;
        return;
      }
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

void Environment::close() {
  flush();
  {
    const std::lock_guard lock{mutex_};
    queue_.clear();
  }
  for (Background& entry : background_) entry.cancel();
  for (Engine* engine : *engines_) engine->stop();
  for (Background& entry : background_) entry.thread.join();
  for (Engine* engine : *engines_) engine->wait();
  engines_->clear();
  run_tasks(nullptr);
  temporary_paths.remove_all();
}

}  // namespace wkv::addon
