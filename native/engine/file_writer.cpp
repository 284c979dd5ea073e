#include "engine/file_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/error.h"
#include "engine/wide_path.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#endif

namespace wkv {

namespace {

// No system takes more in one call.
constexpr std::size_t kMaxWrittenAtOnce = std::size_t{1} << 30U;

// As lib/convert/output.ts says it of what is there at the beginning.
constexpr const char* kExists = "it exists; the option overwrite (wkv convert --force) replaces it";
constexpr const char* kNoDirectory = "there is no such directory";

Error failure(const std::string& path, const char* code, const std::string& what) {
  return Error(code, path + ": cannot be written: " + what).in(path);
}

}  // namespace

#if defined(_WIN32)

namespace {

Error last_failure(const std::string& path) {
  const DWORD error = GetLastError();
  switch (error) {
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case ERROR_FILE_TOO_LARGE:
      return failure(path, "ERR_WKV_MEMORY", "there is no space left");
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
    case ERROR_USER_MAPPED_FILE:
      return failure(path, "EACCES", "access denied, or somebody has it open");
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
      return failure(path, "ENOENT", kNoDirectory);
    case ERROR_FILE_EXISTS:
    case ERROR_ALREADY_EXISTS:
      return failure(path, "EEXIST", kExists);
    default:
      return failure(path, "EIO", "Windows error " + std::to_string(error));
  }
}

}  // namespace

FileWriter::FileWriter(std::string temporary, std::string path)
    : temporary_(std::move(temporary)), path_(std::move(path)) {
  // Whoever ends the process meanwhile may delete it.
  const HANDLE handle = CreateFileW(wide_path(temporary_).c_str(), GENERIC_WRITE, FILE_SHARE_DELETE, nullptr,
                                    CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (handle == INVALID_HANDLE_VALUE) throw last_failure(path_);
  handle_ = handle;
}

void FileWriter::close() {
  if (handle_ != nullptr) CloseHandle(handle_);
  handle_ = nullptr;
}

FileWriter::~FileWriter() {
  close();
  if (!finished_) DeleteFileW(wide_path(temporary_).c_str());
}

void FileWriter::write(std::uint64_t offset, const void* data, std::size_t size) const {
  const auto* from = static_cast<const unsigned char*>(data);
  while (size > 0) {
    OVERLAPPED at = {};
    at.Offset = static_cast<DWORD>(offset);
    at.OffsetHigh = static_cast<DWORD>(offset >> 32U);
    DWORD put = 0;
    const auto part = static_cast<DWORD>(std::min(size, kMaxWrittenAtOnce));
    if (!WriteFile(handle_, from, part, &put, &at) || put == 0) throw last_failure(path_);
    from += put;
    offset += put;
    size -= put;
  }
}

void FileWriter::synchronize() const {
  if (!FlushFileBuffers(handle_)) throw last_failure(path_);
}

void FileWriter::finish(bool replace) {
  close();
  const DWORD how = MOVEFILE_WRITE_THROUGH | (replace ? MOVEFILE_REPLACE_EXISTING : 0);
  if (!MoveFileExW(wide_path(temporary_).c_str(), wide_path(path_).c_str(), how)) throw last_failure(path_);
  finished_ = true;
}

#else

namespace {

const char* code_of(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "ERR_WKV_MEMORY";
    case EACCES:
      return "EACCES";
    case EPERM:
      return "EPERM";
    case ENOENT:
      return "ENOENT";
    case ENOTDIR:
      return "ENOTDIR";
    case EISDIR:
      return "EISDIR";
    case EEXIST:
      return "EEXIST";
    case EROFS:
      return "EROFS";
    case ENAMETOOLONG:
      return "ENAMETOOLONG";
    case EMFILE:
      return "EMFILE";
    case ENFILE:
      return "ENFILE";
    case EBUSY:
      return "EBUSY";
    default:
      return "EIO";
  }
}

Error last_failure(const std::string& path) {
  const int error = errno;
  return failure(path, code_of(error), error == EEXIST ? kExists : std::strerror(error));
}

// Renames a file, unless something has the new name already. Where it could not, errno says why.
bool rename_without_replacing(const char* from, const char* to) {
  if (link(from, to) == 0) {
    static_cast<void>(unlink(from));
    return true;
  }
  // ENOENT: somebody has removed the file, such as this process at its end.
  if (errno == EEXIST || errno == ENOENT) return false;
  // Perhaps the file system has no hard links (FAT has none). Then an empty file takes the name, which only
  // one can make, and is replaced.
  const int descriptor = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) return false;
  static_cast<void>(close(descriptor));
  if (std::rename(from, to) == 0) return true;
  const int error = errno;
  static_cast<void>(unlink(to));
  errno = error;
  return false;
}

// Whatever may be done with the file of this name is what may be done with the other one; none is as good.
void take_permissions(int descriptor, const char* path) {
  constexpr mode_t kPermissions = 0777;
#if defined(__GLIBC__)
  // statx, because stat is another symbol since glibc 2.33.
  struct statx status = {};
  if (statx(AT_FDCWD, path, AT_STATX_SYNC_AS_STAT, STATX_MODE, &status) != 0) return;
  const mode_t mode = status.stx_mode;
#else
  struct stat status = {};
  if (stat(path, &status) != 0) return;
  const mode_t mode = status.st_mode;
#endif
  static_cast<void>(fchmod(descriptor, mode & kPermissions));
}

// Has what was written reach the disk. macOS has a call of its own for that, which not every file system
// knows.
bool synchronize_descriptor(int descriptor) {
#if defined(__APPLE__)
  if (fcntl(descriptor, F_FULLFSYNC) == 0) return true;
#endif
  return fsync(descriptor) == 0;
}

// A rename is on the disk when its directory is. Where directories cannot be synchronized there is no more to
// be done.
void synchronize_directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string directory =
      slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
  const int descriptor = open(directory.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (descriptor < 0) return;
  static_cast<void>(synchronize_descriptor(descriptor));
  static_cast<void>(close(descriptor));
}

}  // namespace

FileWriter::FileWriter(std::string temporary, std::string path)
    : temporary_(std::move(temporary)), path_(std::move(path)) {
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0 && errno == ENOENT) throw failure(path_, "ENOENT", kNoDirectory);
  if (descriptor_ < 0) throw last_failure(path_);
  take_permissions(descriptor_, path_.c_str());
}

void FileWriter::close() {
  if (descriptor_ >= 0) static_cast<void>(::close(descriptor_));
  descriptor_ = -1;
}

FileWriter::~FileWriter() {
  close();
  if (!finished_) static_cast<void>(unlink(temporary_.c_str()));
}

void FileWriter::write(std::uint64_t offset, const void* data, std::size_t size) const {
  const auto* from = static_cast<const unsigned char*>(data);
  while (size > 0) {
    const ssize_t put =
        pwrite(descriptor_, from, std::min(size, kMaxWrittenAtOnce), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) throw last_failure(path_);
    from += put;
    offset += static_cast<std::uint64_t>(put);
    size -= static_cast<std::size_t>(put);
  }
}

void FileWriter::synchronize() const {
  if (!synchronize_descriptor(descriptor_)) throw last_failure(path_);
}

void FileWriter::finish(bool replace) {
  close();
  const bool renamed = replace ? std::rename(temporary_.c_str(), path_.c_str()) == 0
                               : rename_without_replacing(temporary_.c_str(), path_.c_str());
  if (!renamed) throw last_failure(path_);
  finished_ = true;
  synchronize_directory_of(path_);
}

#endif

}  // namespace wkv
