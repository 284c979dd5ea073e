// What scripts/gpu-check writes.

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "gpu_check/report.h"
#include "test/support/model_file.h"

using wkv::gpu_check::Refused;
using wkv::gpu_check::Report;

namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_SUITE("CUDA report") {
  TEST_CASE("has everything up to now, whatever follows") {
    const wkv::test::TemporaryDirectory folder;
    const std::string path = folder.file("report.json");
    Report report(path, {.name = "A \"GPU\"", .major = 9, .minor = 0, .memory = 5, .free_memory = 4});
    report.check("right", [] { return ""; });
    const std::string before =
        "{\n  \"device\": \"A \\\"GPU\\\"\",\n  \"computeCapability\": \"9.0\",\n  \"memory\": 5,\n"
        "  \"checks\": [\n    {\"name\": \"right\", \"problem\": \"\"}";
    CHECK(text_of(path) == before + "\n  ],\n  \"skipped\": [\n  ],\n  \"speeds\": [\n  ]\n}\n");
    CHECK(report.failed() == 0);

    report.check("wrong", [] { return "differs"; });
    report.check("refused", []() -> std::string { throw std::runtime_error("the GPU failed"); });
    CHECK(report.failed() == 2);
    report.speed("fast", 3, "tokens/s", 0);
    report.measure("too large", [] { throw Refused(WKV_CUDA_MEMORY, "no memory"); });
    CHECK(report.failed() == 2);
    report.measure("lost", [&] {
      report.speed("slow", 1, "tokens/s", 2);
      throw Refused(WKV_CUDA_LOST, "lost");
    });
    CHECK(report.failed() == 3);
    CHECK(
        text_of(path) ==
        before +
            ",\n    {\"name\": \"wrong\", \"problem\": \"differs\"}"
            ",\n    {\"name\": \"refused\", \"problem\": \"the GPU failed\"}"
            ",\n    {\"name\": \"lost\", \"problem\": \"lost\"}"
            "\n  ],\n  \"skipped\": [\n    {\"name\": \"too large\", \"reason\": \"no memory\"}"
            "\n  ],\n  \"speeds\": [\n    {\"name\": \"fast\", \"value\": 3.000000, \"unit\": \"tokens/s\", "
            "\"ceiling\": null}"
            ",\n    {\"name\": \"slow\", \"value\": 1.000000, \"unit\": \"tokens/s\", \"ceiling\": 2.000000}"
            "\n  ]\n}\n");
  }

  TEST_CASE("says where it cannot be written") {
    const wkv::test::TemporaryDirectory folder;
    const std::string path = folder.file("missing/report.json");
    Report report(path, {});
    CHECK_THROWS_WITH(report.check("right", [] { return ""; }), ("cannot write " + path).c_str());
  }
}
