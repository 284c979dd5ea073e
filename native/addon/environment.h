#pragma once

#include <napi.h>

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "addon/arrays.h"
#include "addon/reported_numbers.h"
#include "addon/temporary_paths.h"
#include "engine/engine.h"

namespace wkv::addon {

// What the addon keeps per JavaScript environment (the main thread, each worker): the way back from other
// threads, and everything that must have ended before the environment goes.
class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  // Between begin() and end(), on the JavaScript thread, something is pending that keeps the process alive.
  void begin(Napi::Env env);
  void end(Napi::Env env);

  // Tasks of the JavaScript thread. A list, because to add one to it that was made beforehand cannot fail.
  // When the environment is going, a task gets a null env and must only release what it holds.
  using Tasks = std::list<std::function<void(Napi::Env)>>;

  // From any thread: takes the tasks and runs them on the JavaScript thread. Tasks posted close together run
  // in one call.
  void post(Tasks& tasks);

  // The same in two steps, for tasks that are to run in one call: appended, they wait for wake().
  void append(Tasks& tasks);
  void wake();

  // Keeps what one turn of the event loop submits, so that it takes part in one step; flush() passes it on.
  // JavaScript calls it at the end of the turn; see lib/turn.ts. An engine must be flushed before it ends.
  // Without memory it is stage() that fails, not flush().
  void stage(Engine& engine, std::shared_ptr<Evaluation> evaluation);
  void flush();

  // Runs `work` on a thread of its own; `cancel` is called if the environment goes before it is done. Throws
  // ERR_WKV_MEMORY where there can be no more threads.
  void run_in_background(std::function<void()> cancel, std::function<void()> work);

  // Runs `work` on one of a few threads, when what came before has its turn; if the environment goes before
  // that, not at all. Throws as run_in_background.
  void run_in_turn(std::function<void()> work);

  // The engines that must end with the environment; shared with their owners, who may outlive it.
  using Engines = std::set<Engine*>;
  const std::shared_ptr<Engines>& engines() const { return engines_; }

  // What sessions and states have; shared with them, who may outlive it.
  const std::shared_ptr<ReportedBlocks>& blocks() const { return blocks_; }

  const ArrayConstructors arrays;
  Napi::FunctionReference session_constructor;
  Napi::FunctionReference state_constructor;
  Napi::FunctionReference model_constructor;

  TemporaryPaths temporary_paths;

 private:
  struct Background {
    std::function<void()> cancel;
    Tasks end;  // to be posted by the thread
    std::thread thread;
  };

  static void call_back(Napi::Env env, Napi::Function, Environment* self, void*);
  using Wake = Napi::TypedThreadSafeFunction<Environment, void, call_back>;

  void run_tasks(Napi::Env env);
  void work_off_queue();
  void close();

  Wake wake_;
  int pending_ = 0;
  std::shared_ptr<Engines> engines_ = std::make_shared<Engines>();
  std::shared_ptr<ReportedBlocks> blocks_ = std::make_shared<ReportedBlocks>();
  std::list<Background> background_;
  std::map<Engine*, std::list<std::shared_ptr<Evaluation>>> staged_;
  std::mutex mutex_;  // guards what follows
  Tasks tasks_;
  bool scheduled_ = false;
  std::deque<std::function<void()>> queue_;
  int workers_ = 0;  // threads that take from the queue; none goes before it is empty
};

}  // namespace wkv::addon
