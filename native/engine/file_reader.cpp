#include "engine/file_reader.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "engine/error.h"

#if defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace wkv {

namespace {

Error failure(const SourceFile& file, const std::string& what) {
  return Error("ERR_WKV_FORMAT", file.path + ": " + what).in(file.path);
}

constexpr const char* kChanged = "the file changed while it was being loaded";

}  // namespace

#if defined(_WIN32)

// Written from Microsoft's documentation; not yet compiled by anybody.
FileReader::FileReader(const SourceFile& file) : file_(file) {
  const int length = MultiByteToWideChar(CP_UTF8, 0, file.path.c_str(), -1, nullptr, 0);
  std::wstring wide(static_cast<std::size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, file.path.c_str(), -1, wide.data(), length);
  HANDLE handle =
      CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING, 0, nullptr);
  if (handle == INVALID_HANDLE_VALUE) throw failure(file, "cannot be opened again");
  LARGE_INTEGER size;
  if (!GetFileSizeEx(handle, &size) || static_cast<std::uint64_t>(size.QuadPart) != file.size) {
    CloseHandle(handle);
    throw failure(file, kChanged);
  }
  handle_ = handle;
}

FileReader::~FileReader() { CloseHandle(handle_); }

void FileReader::read(std::uint64_t offset, void* destination, std::size_t size) const {
  auto* to = static_cast<unsigned char*>(destination);
  while (size > 0) {
    OVERLAPPED at = {};
    at.Offset = static_cast<DWORD>(offset);
    at.OffsetHigh = static_cast<DWORD>(offset >> 32U);
    DWORD got = 0;
    const DWORD part = static_cast<DWORD>(size < (1U << 30U) ? size : (1U << 30U));
    if (!ReadFile(handle_, to, part, &got, &at) || got == 0) throw failure(file_, "cannot be read");
    to += got;
    offset += got;
    size -= got;
  }
}

void FileReader::drop(std::uint64_t, std::uint64_t) const {}

#else

FileReader::FileReader(const SourceFile& file) : file_(file) {
  // Not blocking: whatever took the file's place, a pipe for example, is looked at and not waited for.
  descriptor_ = open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) throw failure(file, std::string("cannot be opened again: ") + std::strerror(errno));
  struct stat status = {};
  const bool known = fstat(descriptor_, &status) == 0;
#if defined(__APPLE__)
  const timespec& time = status.st_mtimespec;
#else
  const timespec& time = status.st_mtim;
#endif
  // In 64 bits that wrap: a file may claim any time.
  const auto modified = static_cast<std::int64_t>(static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
                                                  static_cast<std::uint64_t>(time.tv_nsec));
  if (!known || !S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) != file.size ||
      static_cast<std::uint64_t>(status.st_dev) != file.device ||
      static_cast<std::uint64_t>(status.st_ino) != file.inode || modified != file.modified_ns) {
    close(descriptor_);
    throw failure(file, kChanged);
  }
}

FileReader::~FileReader() { close(descriptor_); }

void FileReader::read(std::uint64_t offset, void* destination, std::size_t size) const {
  auto* to = static_cast<unsigned char*>(destination);
  while (size > 0) {
    const ssize_t got = pread(descriptor_, to, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw failure(file_, std::string("cannot be read: ") + std::strerror(errno));
    if (got == 0) throw failure(file_, "ends before byte " + std::to_string(offset + size));
    to += got;
    offset += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
}

void FileReader::drop(std::uint64_t offset, std::uint64_t size) const {
#if defined(POSIX_FADV_DONTNEED)
  static_cast<void>(
      posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(size), POSIX_FADV_DONTNEED));
#else
  static_cast<void>(offset);
  static_cast<void>(size);
#endif
}

#endif

}  // namespace wkv
