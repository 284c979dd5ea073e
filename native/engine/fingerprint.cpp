#include "engine/fingerprint.h"

#include "engine/hash.h"

namespace wkv {

std::string hexadecimal(std::uint64_t value) {
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4U) text[i] = "0123456789abcdef"[value & 15U];
  return text;
}

bool is_fingerprint(const std::string& text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string fingerprint(const ModelInfo& info, const TensorDirectory& directory,
                        const std::map<std::string, std::uint64_t>& hashes) {
  std::map<std::string, const TensorEntry*> by_name;
  for (const TensorEntry& tensor : directory.tensors) by_name[tensor.name] = &tensor;
  std::string text = info.architecture + " " + info.version + "\n";
  for (const StatePart& part : info.state.parts) {
    text +=
        std::string(part.name) + " " + std::to_string(part.count) + " " + std::to_string(part.group) + "\n";
  }
  for (const auto& [name, hash] : hashes) {
    const TensorEntry& tensor = *by_name.at(name);
    text += name + " " + name_of(tensor.type) + " " + std::to_string(element_count(tensor)) + " " +
            hexadecimal(hash) + "\n";
  }
  const std::uint64_t first = xxh64(text.data(), text.size());
  text += hexadecimal(first);
  return hexadecimal(first) + hexadecimal(xxh64(text.data(), text.size()));
}

}  // namespace wkv
