#include <napi.h>

#include "addon/converting.h"
#include "addon/environment.h"
#include "addon/kernels.h"
#include "addon/loading.h"
#include "addon/model.h"
#include "addon/pin.h"
#include "addon/sampler.h"
#include "addon/session.h"
#include "addon/state.h"
#include "addon/temporary_paths.h"
#include "addon/vocabulary.h"

namespace {

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  using namespace wkv::addon;
  pin_library();
  auto* environment = new Environment(env);
  env.SetInstanceData(environment);
  const Napi::Function model = Model::constructor(env);
  const Napi::Function session = Session::constructor(env);
  const Napi::Function state = State::constructor(env);
  environment->model_constructor = Napi::Persistent(model);
  environment->session_constructor = Napi::Persistent(session);
  environment->state_constructor = Napi::Persistent(state);
  exports.Set("State", state);
  exports.Set("Sampler", Sampler::constructor(env));
  init_vocabulary(env, exports);
  init_kernels(env, exports);
  init_loading(env, exports);
  init_converting(env, exports);
  init_temporary_paths(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(wkv, initialize)
