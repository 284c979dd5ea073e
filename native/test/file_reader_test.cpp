#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#include "engine/file_reader.h"
#include "test/support/model_file.h"
#include "test/support/refusal.h"

using wkv::FileReader;
using wkv::SourceFile;
using wkv::test::refusal;
using wkv::test::source_file;
using wkv::test::write_file;

namespace {

std::vector<unsigned char> counting(std::size_t size) {
  std::vector<unsigned char> bytes(size);
  std::iota(bytes.begin(), bytes.end(), static_cast<unsigned char>(0));
  return bytes;
}

wkv::Error opening(const SourceFile& file) {
  return refusal([&] { const FileReader reader(file); });
}

}  // namespace

TEST_SUITE("file reader") {
  TEST_CASE("reads any range, from several threads at once") {
    const wkv::test::TemporaryDirectory directory;
    const auto bytes = counting(100'000);
    write_file(directory.file("a"), bytes);
    const FileReader reader(source_file(directory.file("a")));
    std::vector<int> wrong(3);
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < wrong.size(); ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t offset = thread; offset + 1000 < bytes.size(); offset += 997) {
          std::vector<unsigned char> got(1 + offset % 1000);
          reader.read(offset, got.data(), got.size());
          wrong[thread] +=
              !std::equal(got.begin(), got.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
          reader.drop(offset, got.size());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == std::vector<int>(3));
  }

  TEST_CASE("refuses a range beyond the end, and reads nothing for no bytes") {
    const wkv::test::TemporaryDirectory directory;
    write_file(directory.file("a"), counting(100));
    const FileReader reader(source_file(directory.file("a")));
    unsigned char bytes[200];
    CHECK(refusal([&] { reader.read(90, bytes, 11); }).code == "ERR_WKV_FORMAT");
    CHECK(refusal([&] { reader.read(1000, bytes, 1); }).code == "ERR_WKV_FORMAT");
    CHECK(refusal([&] { reader.read(~std::uint64_t{0}, bytes, 1); }).code == "ERR_WKV_FORMAT");
    CHECK(refusal([&] { reader.read(100, bytes, 0); }).code == "none");
  }

  TEST_CASE("refuses a file that grew, shrank, was replaced or was written again, naming it") {
    const wkv::test::TemporaryDirectory directory;
    const std::string path = directory.file("a");
    write_file(path, counting(100));
    const SourceFile file = source_file(path);
    CHECK(opening(file).code == "none");
    for (const SourceFile& other : {SourceFile{path, 99, file.device, file.inode, file.modified_ns},
                                    SourceFile{path, 100, file.device + 1, file.inode, file.modified_ns},
                                    SourceFile{path, 100, file.device, file.inode + 1, file.modified_ns},
                                    SourceFile{path, 100, file.device, file.inode, file.modified_ns + 1}}) {
      CHECK(opening(other).code == "ERR_WKV_FORMAT");
      CHECK(opening(other).path == path);
    }
    std::filesystem::resize_file(path, 50);
    CHECK(opening(file).code == "ERR_WKV_FORMAT");
    // Replaced by one of the same size and time.
    write_file(directory.file("b"), counting(100));
    std::filesystem::last_write_time(directory.file("b"), std::filesystem::last_write_time(path));
    std::filesystem::rename(directory.file("b"), path);
    CHECK(opening(file).code == "ERR_WKV_FORMAT");
  }

#if !defined(_WIN32)
  TEST_CASE("takes the time of a file as a host says it that knows only milliseconds") {
    const wkv::test::TemporaryDirectory directory;
    const std::string path = directory.file("a");
    write_file(path, counting(100));
    SourceFile file = source_file(path);
    const std::int64_t milliseconds = file.modified_ns / 1'000'000;
    file.modified_ns = milliseconds * 1'000'000;
    CHECK(opening(file).code == "none");
    for (const std::int64_t other : {milliseconds - 1, milliseconds + 1}) {
      file.modified_ns = other * 1'000'000;
      CHECK(opening(file).code == "ERR_WKV_FORMAT");
    }
  }
#endif

  TEST_CASE("a file that shrinks while it is open ends early, and does not crash") {
    const wkv::test::TemporaryDirectory directory;
    write_file(directory.file("a"), counting(10'000));
    const FileReader reader(source_file(directory.file("a")));
    std::filesystem::resize_file(directory.file("a"), 5'000);
    std::vector<unsigned char> bytes(10'000);
    CHECK(refusal([&] { reader.read(0, bytes.data(), bytes.size()); }).code == "ERR_WKV_FORMAT");
    CHECK(refusal([&] { reader.read(0, bytes.data(), 5'000); }).code == "none");
  }

  TEST_CASE("maps the whole file for as long as anybody has it, though it be closed and deleted") {
    const wkv::test::TemporaryDirectory directory;
    const auto bytes = counting(10'000);
    write_file(directory.file("a"), bytes);
    std::shared_ptr<const unsigned char> mapping;
    {
      const FileReader reader(source_file(directory.file("a")));
      mapping = reader.map();
    }
    REQUIRE(mapping != nullptr);
#if !defined(_WIN32)
    std::filesystem::remove(directory.file("a"));
#endif
    CHECK(std::equal(bytes.begin(), bytes.end(), mapping.get()));
  }

  TEST_CASE("refuses what is not there, and what is no file") {
    const wkv::test::TemporaryDirectory directory;
    CHECK(opening({.path = directory.file("nothing")}).code == "ERR_WKV_FORMAT");
    CHECK(opening({.path = ""}).code == "ERR_WKV_FORMAT");
    CHECK(opening(source_file(directory.file("."))).code == "ERR_WKV_FORMAT");
  }

#if !defined(_WIN32)
  TEST_CASE("a sound file is not called damaged where too many files are open") {
    const wkv::test::TemporaryDirectory directory;
    write_file(directory.file("a"), counting(100));
    const SourceFile file = source_file(directory.file("a"));
    rlimit limit{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const rlimit none{0, limit.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    const wkv::Error error = opening(file);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(error.code == "ERR_WKV_MEMORY");
    CHECK(error.message == file.path + ": cannot be opened again: " + std::strerror(EMFILE));
    CHECK(opening(file).code == "none");
  }

  TEST_CASE("a file that became a pipe is refused, not waited for") {
    const wkv::test::TemporaryDirectory directory;
    const std::string path = directory.file("pipe");
    REQUIRE(mkfifo(path.c_str(), 0600) == 0);
    std::atomic<bool> answered{false};
    wkv::Error error("", "");
    std::thread reader([&] {
      error = opening(source_file(path));
      answered = true;
    });
    for (int i = 0; i < 500 && !answered; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    CHECK(answered);
    // Whoever hangs there is let go by a writer.
    const int writer = answered ? -1 : open(path.c_str(), O_WRONLY | O_NONBLOCK);
    reader.join();
    if (writer >= 0) close(writer);
    CHECK(error.code == "ERR_WKV_FORMAT");
  }

  TEST_CASE("takes times of change of any century") {
    const wkv::test::TemporaryDirectory directory;
    const std::string path = directory.file("a");
    write_file(path, counting(10));
    for (const std::int64_t year : {-300, -60, 0, 130, 400}) {
      CAPTURE(year);
      // As far as the file system can store it; what it stored counts.
      const timespec time = {static_cast<time_t>(year * 31'556'952), 123'456'789};
      const timespec both[2] = {time, time};
      if (utimensat(AT_FDCWD, path.c_str(), both, 0) != 0) continue;
      CHECK(opening(source_file(path)).code == "none");
    }
  }
#endif
}
