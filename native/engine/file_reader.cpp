#include "engine/file_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "engine/error.h"
#include "engine/wide_path.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/sysmacros.h>
#endif
#endif

namespace wkv {

namespace {

Error failure(const SourceFile& file, const std::string& what) {
  return Error("ERR_WKV_FORMAT", file.path + ": " + what).in(file.path);
}

// No system takes more in one call.
constexpr std::size_t kMaxReadAtOnce = std::size_t{1} << 30U;

constexpr const char* kChanged = "the file changed while it was being loaded";

}  // namespace

#if defined(_WIN32)

namespace {

std::uint64_t joined(DWORD high, DWORD low) { return std::uint64_t{high} << 32U | low; }

// `value` is `whole` times `per` plus `part`, which is not negative.
struct Divided {
  Divided(std::int64_t value, std::int64_t per)
      : part((value % per + per) % per), whole(static_cast<std::uint32_t>((value - part) / per)) {}
  std::int64_t part;
  std::uint32_t whole;  // its lower 32 bits
};

// Whether the open file is one on a disk, and the very one of which Node's fstat told.
bool is_same(HANDLE handle, const SourceFile& file) {
  BY_HANDLE_FILE_INFORMATION found = {};
  if (GetFileType(handle) != FILE_TYPE_DISK || !GetFileInformationByHandle(handle, &found)) return false;
  // Windows counts units of 100 ns from 1601. Node keeps 32 bits of the seconds since 1970.
  const std::uint64_t since_1601 =
      joined(found.ftLastWriteTime.dwHighDateTime, found.ftLastWriteTime.dwLowDateTime);
  const Divided seconds(static_cast<std::int64_t>(since_1601 - 116'444'736'000'000'000U), 10'000'000);
  const Divided expected(file.modified_ns, 1'000'000'000);
  return joined(found.nFileSizeHigh, found.nFileSizeLow) == file.size &&
         found.dwVolumeSerialNumber == file.device &&
         joined(found.nFileIndexHigh, found.nFileIndexLow) == file.inode && seconds.whole == expected.whole &&
         seconds.part * 100 == expected.part;
}

}  // namespace

FileReader::FileReader(const SourceFile& file) : file_(file) {
  // Others may write, rename and delete the file as on other systems, and as they may where Node has it open.
  constexpr DWORD kShare = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
  const HANDLE handle = CreateFileW(wide_path(file.path).c_str(), GENERIC_READ, kShare, nullptr,
                                    OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (handle == INVALID_HANDLE_VALUE)
    throw failure(file, "cannot be opened again: Windows error " + std::to_string(GetLastError()));
  if (!is_same(handle, file)) {
    CloseHandle(handle);
    throw failure(file, kChanged);
  }
  handle_ = handle;
}

FileReader::~FileReader() { CloseHandle(handle_); }

void FileReader::require_unchanged() const {
  if (!is_same(handle_, file_)) throw failure(file_, kChanged);
}

void FileReader::read(std::uint64_t offset, void* destination, std::size_t size) const {
  auto* to = static_cast<unsigned char*>(destination);
  while (size > 0) {
    OVERLAPPED at = {};
    at.Offset = static_cast<DWORD>(offset);
    at.OffsetHigh = static_cast<DWORD>(offset >> 32U);
    DWORD got = 0;
    const DWORD part = static_cast<DWORD>(size < kMaxReadAtOnce ? size : kMaxReadAtOnce);
    const bool done = ReadFile(handle_, to, part, &got, &at) != 0;
    const DWORD error = done ? 0 : GetLastError();
    if (error != 0 && error != ERROR_HANDLE_EOF)
      throw failure(file_, "cannot be read: Windows error " + std::to_string(error));
    if (got == 0) throw failure(file_, "ends before byte " + std::to_string(offset + size));
    to += got;
    offset += got;
    size -= got;
  }
}

std::shared_ptr<const unsigned char> FileReader::map() const {
  const HANDLE mapping = CreateFileMappingW(handle_, nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (mapping == nullptr) return nullptr;
  // The view keeps the mapping.
  const void* view = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, static_cast<SIZE_T>(file_.size));
  CloseHandle(mapping);
  if (view == nullptr) return nullptr;
  return {static_cast<const unsigned char*>(view),
          [](const unsigned char* bytes) { UnmapViewOfFile(bytes); }};
}

// Windows has no such advice.
void FileReader::drop(std::uint64_t, std::uint64_t) const {}

#else

namespace {

std::int64_t nanoseconds(std::int64_t seconds, std::int64_t rest) {
  // In 64 bits that wrap: a file may claim any time.
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(seconds) * 1'000'000'000U +
                                   static_cast<std::uint64_t>(rest));
}

// Deno says times in whole milliseconds.
bool is_same_time(std::int64_t found, std::int64_t expected) {
  constexpr std::int64_t kMillisecond = 1'000'000;
  if (expected % kMillisecond != 0) return found == expected;
  return static_cast<std::uint64_t>(found) - static_cast<std::uint64_t>(expected) < kMillisecond;
}

// Whether the open file is a regular one, and the very one that was looked at before.
#if defined(__GLIBC__)
// statx, because fstat is another symbol since glibc 2.33.
bool is_same(int descriptor, const SourceFile& file) {
  struct statx status = {};
  if (statx(descriptor, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status) != 0) return false;
  return S_ISREG(status.stx_mode) && status.stx_size == file.size &&
         makedev(status.stx_dev_major, status.stx_dev_minor) == file.device && status.stx_ino == file.inode &&
         is_same_time(nanoseconds(status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec), file.modified_ns);
}
#else
bool is_same(int descriptor, const SourceFile& file) {
  struct stat status = {};
  if (fstat(descriptor, &status) != 0) return false;
#if defined(__APPLE__)
  const timespec& time = status.st_mtimespec;
#else
  const timespec& time = status.st_mtim;
#endif
  return S_ISREG(status.st_mode) && static_cast<std::uint64_t>(status.st_size) == file.size &&
         static_cast<std::uint64_t>(status.st_dev) == file.device &&
         static_cast<std::uint64_t>(status.st_ino) == file.inode &&
         is_same_time(nanoseconds(time.tv_sec, time.tv_nsec), file.modified_ns);
}
#endif

}  // namespace

FileReader::FileReader(const SourceFile& file) : file_(file) {
  // Not blocking: whatever took the file's place, a pipe for example, is looked at and not waited for.
  descriptor_ = open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) {
    const int error = errno;
    Error refusal = failure(file, std::string("cannot be opened again: ") + std::strerror(error));
    if (error == EMFILE || error == ENFILE || error == ENOMEM) refusal.code = "ERR_WKV_MEMORY";
    throw refusal;
  }
  if (!is_same(descriptor_, file)) {
    close(descriptor_);
    throw failure(file, kChanged);
  }
}

FileReader::~FileReader() { close(descriptor_); }

void FileReader::require_unchanged() const {
  if (!is_same(descriptor_, file_)) throw failure(file_, kChanged);
}

void FileReader::read(std::uint64_t offset, void* destination, std::size_t size) const {
  auto* to = static_cast<unsigned char*>(destination);
  while (size > 0) {
    const ssize_t got = pread(descriptor_, to, std::min(size, kMaxReadAtOnce), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw failure(file_, std::string("cannot be read: ") + std::strerror(errno));
    if (got == 0) throw failure(file_, "ends before byte " + std::to_string(offset + size));
    to += got;
    offset += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
}

std::shared_ptr<const unsigned char> FileReader::map() const {
  const auto size = static_cast<std::size_t>(file_.size);
  void* view = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor_, 0);
  if (view == MAP_FAILED) return nullptr;
  return {static_cast<const unsigned char*>(view),
          [size](const unsigned char* bytes) { munmap(const_cast<unsigned char*>(bytes), size); }};
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
