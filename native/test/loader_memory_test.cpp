#include <doctest/doctest.h>

#include <atomic>
#include <new>
#include <utility>
#include <vector>

#include "engine/tensor_loader.h"
#include "test/support/matrices.h"
#include "test/support/model_file.h"
#include "test/support/scarce_memory.h"

// What loading does when there is not enough memory.

using wkv::Error;
using wkv::StoredType;
using wkv::TensorLoader;
using wkv::test::Floats;
using wkv::test::TemporaryDirectory;

TEST_SUITE("loading without memory") {
  TEST_CASE("an error that there is no memory to keep ends the loading, too") {
    const TemporaryDirectory folder;
    const auto directory =
        wkv::test::write_tensors(folder.file("m"), {{"v", {{3}, Floats{1, 2, 3}, StoredType::kF32}}});
    const std::atomic<bool> go_on{false};
    std::vector<float> destination;
    TensorLoader loader(directory, 3, go_on, [](std::uint64_t, std::uint64_t) {
      Error error("ERR_WKV_FORMAT", "longer than what a string keeps within itself");
      wkv::test::make_memory_scarce(true, 1);
      throw Error(std::move(error));
    });
    loader.add(directory.tensors[0], destination);
    CHECK_THROWS_AS(loader.run(), std::bad_alloc);
    wkv::test::make_memory_scarce(false);
  }
}
