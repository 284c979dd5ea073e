#pragma once

#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>

#include "backend/cuda/api.h"

namespace wkv::gpu_check {

// What was found, for the terminal and as JSON. Names and texts are this program's own: nothing needs escapes
// but what the driver calls a GPU.
class Report {
 public:
  int failed() const { return failed_; }

  void check(const std::string& name, const std::string& problem) {
    std::printf("%-7s %s%s%s\n", problem.empty() ? "ok" : "FAILED", name.c_str(), problem.empty() ? "" : ": ",
                problem.c_str());
    std::fflush(stdout);
    failed_ += problem.empty() ? 0 : 1;
    append(checks_, "{\"name\": \"" + name + "\", \"problem\": \"" + escaped(problem) + "\"}");
  }
  void speed(const std::string& name, double value, const std::string& unit, double ceiling) {
    const bool has_ceiling = ceiling > 0;
    std::printf("%-52s %12.4g %-12s", name.c_str(), value, unit.c_str());
    if (has_ceiling) std::printf(" %5.1f %% of the ceiling", 100 * value / ceiling);
    std::printf("\n");
    std::fflush(stdout);
    append(speeds_, "{\"name\": \"" + name + "\", \"value\": " + std::to_string(value) + ", \"unit\": \"" +
                        unit + "\", \"ceiling\": " + (has_ceiling ? std::to_string(ceiling) : "null") + "}");
  }
  void save(const std::string& path, const WkvCudaDevice& device) const {
    std::ofstream json(path);
    json << "{\n  \"device\": \"" << escaped(device.name) << "\",\n  \"computeCapability\": \""
         << device.major << '.' << device.minor << "\",\n  \"memory\": " << device.memory
         << ",\n  \"checks\": [" << checks_ << "\n  ],\n  \"speeds\": [" << speeds_ << "\n  ]\n}\n";
    json.close();
    if (!json) throw std::runtime_error("cannot write " + path);
  }

 private:
  static std::string escaped(const std::string& text) {
    std::string result;
    for (const char c : text) {
      if (c == '"' || c == '\\') result += '\\';
      if (c >= ' ') result += c;
    }
    return result;
  }
  static void append(std::string& list, const std::string& item) {
    list += (list.empty() ? "\n    " : ",\n    ") + item;
  }

  std::string checks_;
  std::string speeds_;
  int failed_ = 0;
};

}  // namespace wkv::gpu_check
