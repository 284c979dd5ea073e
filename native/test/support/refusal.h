#pragma once

#include "engine/error.h"

namespace wkv::test {

// The wkv::Error that `body` throws; one with the code "none" if it throws nothing.
template <class Body>
Error refusal(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  return {"none", "nothing was thrown"};
}

}  // namespace wkv::test
