#include <doctest/doctest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <sys/resource.h>
#endif

#include "engine/file_writer.h"
#include "test/support/model_file.h"
#include "test/support/refusal.h"

using wkv::FileWriter;
using wkv::test::refusal;
using wkv::test::TemporaryDirectory;
using wkv::test::write_file;

namespace {

std::vector<unsigned char> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_SUITE("file writer") {
  TEST_CASE("writes any range, from several threads at once, and the file appears when it is finished") {
    const TemporaryDirectory folder;
    const std::string path = folder.file("whole");
    std::vector<unsigned char> bytes(100'000);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i * 7 >> 3U);
    FileWriter writer(folder.file("part"), path);
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t begin = thread * 1000; begin < bytes.size(); begin += 4000) {
          writer.write(begin, bytes.data() + begin, 1000);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    writer.write(50'000, nullptr, 0);
    CHECK(!std::filesystem::exists(path));
    writer.synchronize();
    writer.finish(false);
    CHECK(!std::filesystem::exists(folder.file("part")));
    CHECK(read_file(path) == bytes);
  }

  TEST_CASE("replaces what was there in one step, and leaves it where it is not finished") {
    const TemporaryDirectory folder;
    const std::string path = folder.file("a");
    write_file(path, {1, 2, 3});
    {
      const FileWriter writer(folder.file("part"), path);
      writer.write(0, "xyz", 3);
    }
    CHECK(!std::filesystem::exists(folder.file("part")));
    CHECK(read_file(path) == std::vector<unsigned char>{1, 2, 3});
    FileWriter writer(folder.file("part"), path);
    writer.write(1, "z", 1);
    writer.finish(true);
    CHECK(read_file(path) == std::vector<unsigned char>{0, 'z'});
  }

  TEST_CASE("leaves what came to its place meanwhile, unless it is to replace it") {
    const TemporaryDirectory folder;
    const std::string path = folder.file("a");
    const wkv::Error error = refusal([&] {
      FileWriter writer(folder.file("part"), path);
      write_file(path, {1, 2, 3});
      writer.finish(false);
    });
    CHECK(error.code == "EEXIST");
    CHECK(error.path == path);
    CHECK(read_file(path) == std::vector<unsigned char>{1, 2, 3});
    CHECK(!std::filesystem::exists(folder.file("part")));
  }

#if !defined(_WIN32)
  TEST_CASE("has the permissions of what it is to replace, before anything is written") {
    using std::filesystem::perms;
    const TemporaryDirectory folder;
    const std::string path = folder.file("a");
    for (const perms wanted : {perms::owner_read | perms::owner_write, perms{0666}}) {
      write_file(path, {1});
      std::filesystem::permissions(path, wanted);
      FileWriter writer(folder.file("part"), path);
      CHECK(std::filesystem::status(folder.file("part")).permissions() == wanted);
      writer.write(0, "b", 1);
      writer.finish(true);
      CHECK(std::filesystem::status(path).permissions() == wanted);
    }
  }
#endif

  TEST_CASE("takes no temporary name that is there, and leaves that file alone") {
    const TemporaryDirectory folder;
    write_file(folder.file("part"), {9});
    const wkv::Error error = refusal([&] { const FileWriter writer(folder.file("part"), folder.file("a")); });
    CHECK(error.code == "EEXIST");
    CHECK(read_file(folder.file("part")) == std::vector<unsigned char>{9});
  }

  TEST_CASE("says why it cannot write, with the path that the file was to have") {
    const TemporaryDirectory folder;
    const std::string nowhere = folder.file("nothing/a");
    const wkv::Error missing =
        refusal([&] { const FileWriter writer(folder.file("nothing/part"), nowhere); });
    CHECK(missing.code == "ENOENT");
    CHECK(missing.path == nowhere);
    CHECK(missing.message == nowhere + ": cannot be written: there is no such directory");

    std::filesystem::create_directories(folder.file("full/of"));
    const wkv::Error taken = refusal([&] {
      FileWriter writer(folder.file("part"), folder.file("full"));
      writer.finish(true);
    });
    CHECK(taken.code != "none");
    CHECK(taken.path == folder.file("full"));
    CHECK(!std::filesystem::exists(folder.file("part")));
  }

#if !defined(_WIN32)
  TEST_CASE("without room it is ERR_WKV_MEMORY, and nothing is left") {
    const TemporaryDirectory folder;
    rlimit before = {};
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    // As in Node: then the system says EFBIG instead of ending the process.
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small = {10'000, before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    const std::vector<unsigned char> bytes(20'000);
    const wkv::Error error = refusal([&] {
      const FileWriter writer(folder.file("part"), folder.file("a"));
      writer.write(0, bytes.data(), bytes.size());
    });
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    CHECK(error.code == "ERR_WKV_MEMORY");
    CHECK(error.path == folder.file("a"));
    CHECK(!std::filesystem::exists(folder.file("part")));
    CHECK(!std::filesystem::exists(folder.file("a")));
  }
#endif
}
