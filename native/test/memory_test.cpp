#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <utility>

#include "backend/cpu/memory.h"

TEST_SUITE("memory") {
  TEST_CASE("is zeroed, aligned to 64 bytes and writable to the last byte, whatever its size") {
    for (const std::size_t size :
         {1U, 63U, 64U, 1000U, (1U << 20) - 1, 1U << 20, (1U << 20) + 1, (8U << 20) + 5}) {
      CAPTURE(size);
      wkv::Memory memory(size);
      auto* bytes = static_cast<unsigned char*>(memory.data());
      CHECK(memory.size() == size);
      CHECK(reinterpret_cast<std::uintptr_t>(bytes) % 64 == 0);
      CHECK(std::all_of(bytes, bytes + size, [](unsigned char byte) { return byte == 0; }));
      bytes[size - 1] = 1;
    }
  }

  TEST_CASE("comes from the system from 1 MiB on, or from the size that the caller says") {
    CHECK(!wkv::Memory((1U << 20) - 1).is_mapped());
    CHECK(wkv::Memory(1U << 20).is_mapped());
    CHECK(!wkv::Memory(9999, 10'000).is_mapped());
    CHECK(wkv::Memory(10'000, 10'000).is_mapped());
    CHECK(!wkv::Memory().is_mapped());
  }

  TEST_CASE("of nothing is allowed, by default and on purpose") {
    CHECK(wkv::Memory().size() == 0);
    CHECK(wkv::Memory().data() == nullptr);
    CHECK(wkv::Memory(0).size() == 0);
  }

  TEST_CASE("moves without copying") {
    for (const std::size_t size : {100U, 2U << 20}) {
      wkv::Memory first(size);
      const void* place = first.data();
      wkv::Memory second = std::move(first);
      CHECK(second.data() == place);
      CHECK(second.size() == size);
      second = wkv::Memory(10);
      CHECK(second.size() == 10);
    }
  }

  TEST_CASE("that is a part of something is where that is, and keeps it until it is gone") {
    const auto whole = std::make_shared<std::array<unsigned char, 256>>();
    (*whole)[70] = 9;
    {
      wkv::Memory part(whole, whole->data() + 64, 100);
      CHECK(part.is_part());
      CHECK(!part.is_mapped());
      CHECK(part.size() == 100);
      CHECK(static_cast<const unsigned char*>(std::as_const(part).data())[6] == 9);
      CHECK(whole.use_count() == 2);
      const wkv::Memory moved = std::move(part);
      CHECK(moved.data() == whole->data() + 64);
      CHECK(whole.use_count() == 2);
    }
    CHECK(whole.use_count() == 1);
    CHECK(!wkv::Memory(10).is_part());
  }

  TEST_CASE("that the system does not have is a bad_alloc") {
    CHECK_THROWS_AS(wkv::Memory(std::numeric_limits<std::size_t>::max() / 2), std::bad_alloc);
    CHECK_THROWS_AS(wkv::Memory(std::size_t{1} << 56), std::bad_alloc);
  }
}
