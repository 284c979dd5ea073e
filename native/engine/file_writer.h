#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace wkv {

// A file that appears in its place only when it is whole. Until then it has a temporary name, under which it
// is removed if it never becomes whole. Writes may come from several threads at once. What the system refuses
// is an Error with the system's own code (EACCES and so on), or ERR_WKV_MEMORY where there is no room; both
// with the file's later path.
class FileWriter {
 public:
  // `temporary` must not be there yet, and is in the same directory as `path`. It has the permissions of what
  // has that name from the beginning (not on Windows).
  FileWriter(std::string temporary, std::string path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::uint64_t offset, const void* data, std::size_t size) const;

  // Waits until what was written is on the disk.
  void synchronize() const;

  // Gives the file its name, after synchronize(), and closes it. What has the name already is replaced, or
  // else is an Error EEXIST: then it stays, even if it came at the last moment.
  void finish(bool replace);

 private:
  void close();

  const std::string temporary_;
  const std::string path_;
  bool finished_ = false;
#if defined(_WIN32)
  void* handle_ = nullptr;
#else
  int descriptor_ = -1;
#endif
};

}  // namespace wkv
