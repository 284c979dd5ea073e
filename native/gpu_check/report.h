#pragma once

#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "backend/cuda/api.h"
#include "gpu_check/library.h"

namespace wkv::gpu_check {

// What was found, for the terminal and as JSON, in a file that is whole after each finding: a later one may
// hang the GPU. Names are this program's own and need no escapes.
class Report {
 public:
  Report(std::string path, const WkvCudaDevice& device) : path_(std::move(path)), device_(device) {}

  int failed() const { return failed_; }

  // A check finds a problem, or none: "". Whatever it throws is one.
  void check(const std::string& name, const std::function<std::string()>& find_problem) {
    std::string problem;
    try {
      problem = find_problem();
    } catch (const std::exception& error) {
      problem = error.what();
    }
    say(problem.empty() ? "ok" : "FAILED", name, problem);
    failed_ += problem.empty() ? 0 : 1;
    append(checks_, "{\"name\": \"" + name + "\", \"problem\": \"" + escaped(problem) + "\"}");
  }
  // Measures something, which is skipped where the GPU has not the memory for it.
  void measure(const std::string& name, const std::function<void()>& run) {
    try {
      run();
    } catch (const Refused& refused) {
      if (refused.code == WKV_CUDA_MEMORY) {
        skip(name, refused.what());
      } else {
        check(name, [&] { return std::string(refused.what()); });
      }
    }
  }
  void skip(const std::string& name, const std::string& reason) {
    say("skipped", name, reason);
    append(skipped_, "{\"name\": \"" + name + "\", \"reason\": \"" + escaped(reason) + "\"}");
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

 private:
  static void say(const char* result, const std::string& name, const std::string& why) {
    std::printf("%-7s %s%s%s\n", result, name.c_str(), why.empty() ? "" : ": ", why.c_str());
    std::fflush(stdout);
  }
  static std::string escaped(const std::string& text) {
    std::string result;
    for (const char c : text) {
      if (c == '"' || c == '\\') result += '\\';
      if (c >= ' ') result += c;
    }
    return result;
  }
  void append(std::string& list, const std::string& item) {
    list += (list.empty() ? "\n    " : ",\n    ") + item;
    save();
  }
  void save() const {
    const std::string unfinished = path_ + ".tmp";
    std::ofstream json(unfinished);
    json << "{\n  \"device\": \"" << escaped(device_.name) << "\",\n  \"computeCapability\": \""
         << device_.major << '.' << device_.minor << "\",\n  \"memory\": " << device_.memory
         << ",\n  \"checks\": [" << checks_ << "\n  ],\n  \"skipped\": [" << skipped_
         << "\n  ],\n  \"speeds\": [" << speeds_ << "\n  ]\n}\n";
    json.close();
    if (!json || std::rename(unfinished.c_str(), path_.c_str()) != 0)
      throw std::runtime_error("cannot write " + path_);
  }

  std::string path_;
  WkvCudaDevice device_;
  std::string checks_;
  std::string skipped_;
  std::string speeds_;
  int failed_ = 0;
};

}  // namespace wkv::gpu_check
