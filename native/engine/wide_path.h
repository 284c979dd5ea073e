#pragma once

#if defined(_WIN32)

#include <windows.h>

#include <string>

namespace wkv {

// The path in UTF-16, in the form that may be longer than 260 characters. `path` is absolute and has no "/".
inline std::wstring wide_path(const std::string& path) {
  const int length = static_cast<int>(path.size());
  std::wstring wide(path.size(), L'\0');  // never more units than bytes
  wide.resize(static_cast<std::size_t>(
      MultiByteToWideChar(CP_UTF8, 0, path.data(), length, wide.data(), static_cast<int>(wide.size()))));
  if (wide.size() > 2 && wide[1] == L':' && wide[2] == L'\\') return L"\\\\?\\" + wide;
  const bool is_share = wide.size() > 2 && wide[0] == L'\\' && wide[1] == L'\\';
  return is_share && wide[2] != L'?' && wide[2] != L'.' ? L"\\\\?\\UNC" + wide.substr(1) : wide;
}

}  // namespace wkv

#endif
