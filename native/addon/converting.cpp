// planConversion, convertModel and convertElements: from a tensor directory to a file, packed or not; and
// readElements, from a tensor directory to numbers.

#include "addon/converting.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "addon/arguments.h"
#include "addon/background.h"
#include "addon/job.h"
#include "engine/elements.h"
#include "engine/model_converter.h"

namespace wkv::addon {

namespace {

std::map<std::string, std::uint64_t> to_places(const Napi::Object& places) {
  std::map<std::string, std::uint64_t> result;
  // Its own alone: Object.prototype may have been given others.
  napi_value keys = nullptr;
  const auto filter = static_cast<napi_key_filter>(napi_key_enumerable | napi_key_skip_symbols);
  const napi_status status = napi_get_all_property_names(places.Env(), places, napi_key_own_only, filter,
                                                         napi_key_numbers_to_strings, &keys);
  if (status != napi_ok) throw Napi::Error::New(places.Env());
  const Napi::Array names(places.Env(), keys);
  for (std::uint32_t i = 0; i < names.Length(); ++i) {
    const Napi::HandleScope scope(places.Env());
    const std::string name = require_string(names.Get(i), "name");
    result[name] = require_size(places.Get(name), "place");
  }
  return result;
}

OutputFile to_output_file(const Napi::Object& object) {
  return {.temporary = require_string(object.Get("temporary"), "temporary"),
          .path = require_string(object.Get("path"), "path"),
          .overwrite = object.Get("overwrite").ToBoolean(),
          .header = copy_of<std::uint8_t>(object.Get("header"), "header"),
          .places = to_places(require_object(object.Get("places"), "places"))};
}

PackedFile to_packed_file(const Napi::Object& object) {
  PackedFile file{.output = to_output_file(object),
                  .weights = require_precision(object.Get("weights"), "weights")};
  const std::int64_t last = static_cast<std::int64_t>(file.output.header.size()) - 32;
  file.fingerprint_at =
      static_cast<std::size_t>(require_integer(object.Get("fingerprintAt"), "fingerprintAt", 0, last));
  return file;
}

ElementsFile to_elements_file(const Napi::Object& object) {
  return {.output = to_output_file(object), .type = require_type(object.Get("type"), "type")};
}

// planConversion(directory, weights): [{ name, rows, columns, group, weights, bytes }]
Napi::Value plan_conversion_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto plan = plan_conversion(to_directory(info[0]), require_precision(info[1], "weights"));
  Napi::Array list = Napi::Array::New(env, plan.size());
  std::uint32_t index = 0;
  for (const PlannedMatrix& matrix : plan) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", matrix.name);
    object.Set("rows", matrix.rows);
    object.Set("columns", matrix.columns);
    object.Set("group", matrix.group);
    object.Set("weights", name_of(matrix.precision));
    object.Set("bytes", static_cast<double>(matrix.bytes));
    list.Set(index++, object);
  }
  return list;
}

// convertModel(directory, { temporary, path, overwrite, weights, header, fingerprintAt, places, threads },
// onProgress?):
// { promise of the fingerprint, or of undefined if cancelled; cancel() }
Napi::Value convert_model_call(const Napi::CallbackInfo& info) {
  auto directory = std::make_shared<const TensorDirectory>(to_directory(info[0]));
  const Napi::Object object = require_object(info[1], "file");
  auto file = std::make_shared<const PackedFile>(to_packed_file(object));
  return start_job<std::string>(
      info.Env(), info[2],
      [directory, file, threads = to_threads(object)](const std::atomic<bool>& cancelled,
                                                      const LoadProgress& progress) {
        return convert_model(*directory, *file, threads, cancelled, progress);
      },
      [](Napi::Env env, const std::string& fingerprint) { return Napi::String::New(env, fingerprint); });
}

// convertElements(directory, { temporary, path, overwrite, type, header, places, threads }, onProgress?):
// { promise of true, or of undefined if cancelled; cancel() }
Napi::Value convert_elements_call(const Napi::CallbackInfo& info) {
  auto directory = std::make_shared<const TensorDirectory>(to_directory(info[0]));
  const Napi::Object object = require_object(info[1], "file");
  auto file = std::make_shared<const ElementsFile>(to_elements_file(object));
  return start_job<bool>(
      info.Env(), info[2],
      [directory, file, threads = to_threads(object)](const std::atomic<bool>& cancelled,
                                                      const LoadProgress& progress) {
        convert_elements(*directory, *file, threads, cancelled, progress);
        return true;
      },
      [](Napi::Env env, bool) { return Napi::Boolean::New(env, true); });
}

// readElements(directory): promise of a Float32Array
Napi::Value read_elements_call(const Napi::CallbackInfo& info) {
  auto directory = std::make_shared<const TensorDirectory>(to_directory(info[0]));
  return in_background(
      info.Env(), [directory] { return read_floats(*directory); },
      [](Napi::Env env, const std::vector<float>& numbers) { return to_array(env, numbers); });
}

}  // namespace

void init_converting(Napi::Env env, Napi::Object exports) {
  exports.Set("planConversion", Napi::Function::New<guarded<plan_conversion_call>>(env));
  exports.Set("convertModel", Napi::Function::New<guarded<convert_model_call>>(env));
  exports.Set("convertElements", Napi::Function::New<guarded<convert_elements_call>>(env));
  exports.Set("readElements", Napi::Function::New<guarded<read_elements_call>>(env));
}

}  // namespace wkv::addon
