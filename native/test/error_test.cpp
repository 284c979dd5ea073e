#include "engine/error.h"

#include <doctest/doctest.h>

#include <new>
#include <stdexcept>
#include <string>

namespace {

// What another thread gets of what this one throws.
template <class Thrown>
wkv::Caught caught(const Thrown& thrown) {
  wkv::Caught noted;
  try {
    throw thrown;
  } catch (...) {
    noted.note();
  }
  return noted;
}

TEST_CASE("what is caught comes to another thread: errors, lack of memory, and what the library throws") {
  wkv::Caught{}.throw_again();  // nothing
  CHECK_THROWS_AS(caught(std::bad_alloc{}).throw_again(), std::bad_alloc);
  try {
    caught(wkv::Error("ERR_WKV_SHAPE", "wrong").about("a", "b", "c")).throw_again();
    FAIL("nothing was thrown");
  } catch (const wkv::Error& error) {
    CHECK(error.code == "ERR_WKV_SHAPE");
    CHECK(error.message == "wrong");
    CHECK(error.tensor + error.expected + error.found == "abc");
  }
  try {
    caught(std::length_error("too long")).throw_again();
    FAIL("nothing was thrown");
  } catch (const wkv::Error& error) {
    CHECK(error.code == "ERR_WKV_MEMORY");
    CHECK(error.message == "the work could not be done: too long");
  }
}

}  // namespace
