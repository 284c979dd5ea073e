#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/tensor_directory.h"

namespace wkv {

// A file opened again after its header was read: the same file (device, inode, size, time of change) or an
// ERR_WKV_FORMAT. Reads may come from several threads at once.
class FileReader {
 public:
  explicit FileReader(const SourceFile& file);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  // Throws ERR_WKV_FORMAT when it is no longer the file that was opened: to be called when all has been read.
  void require_unchanged() const;

  // Reads exactly `size` bytes. Throws ERR_WKV_FORMAT when the file ends early or cannot be read.
  void read(std::uint64_t offset, void* destination, std::size_t size) const;

  // The whole file as memory, only to be read, for as long as anybody has it; null where the system cannot.
  // What happens where somebody truncates the file meanwhile is the system's to say: mostly the process ends.
  std::shared_ptr<const unsigned char> map() const;

  // Tells the system that these bytes will not be needed again, so that reading a file larger than memory
  // does not push everything else out.
  void drop(std::uint64_t offset, std::uint64_t size) const;

 private:
  SourceFile file_;
#if defined(_WIN32)
  void* handle_ = nullptr;
#else
  int descriptor_ = -1;
#endif
};

}  // namespace wkv
