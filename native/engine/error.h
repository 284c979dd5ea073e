#pragma once

#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>

namespace wkv {

// A failure with one of the public codes (ERR_WKV_FORMAT and so on); it becomes a WkvError in JavaScript.
class Error : public std::exception {
 public:
  Error(std::string error_code, std::string text) : code(std::move(error_code)), message(std::move(text)) {}

  const char* what() const noexcept override { return message.c_str(); }

  // Details, each empty where it does not apply.
  Error&& about(std::string tensor_name, std::string what_expected = {}, std::string what_found = {}) && {
    tensor = std::move(tensor_name);
    expected = std::move(what_expected);
    found = std::move(what_found);
    return std::move(*this);
  }
  Error&& in(std::string file_path) && {
    path = std::move(file_path);
    return std::move(*this);
  }

  std::string code;
  std::string message;
  std::string path;
  std::string tensor;
  std::string expected;
  std::string found;
};

// What an exception of the C++ library's becomes, of which lack of memory has a class of its own: a thread
// that cannot be started, more elements than a vector takes.
inline Error failure_of(const std::exception& other) {
  return Error("ERR_WKV_MEMORY", std::string("the work could not be done: ") + other.what());
}

// Thrown inside work that its caller has called off; never shown to anyone.
struct Cancelled {};

// What one thread has caught, for another. (Copies of std::exception_ptr need a newer C++ library than what
// is built otherwise.)
class Caught {
 public:
  // To be called where it is caught, which takes the place of what was noted before. Without memory for a
  // copy of it, it is lack of memory.
  void note() noexcept {
    error_.reset();
    no_memory_ = false;
    try {
      try {
        throw;
      } catch (const Error& error) {
        error_ = error;
      } catch (const std::bad_alloc&) {
        no_memory_ = true;
      } catch (const std::exception& other) {
        error_.emplace(failure_of(other));
      }
    } catch (const std::bad_alloc&) {
      no_memory_ = true;
    }
  }

  // Returns where nothing was caught.
  void throw_again() const {
    if (error_) throw Error(*error_);
    if (no_memory_) throw std::bad_alloc{};
  }

 private:
  std::optional<Error> error_;
  bool no_memory_ = false;
};

}  // namespace wkv
