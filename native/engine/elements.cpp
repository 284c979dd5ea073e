#include "engine/elements.h"

#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "engine/error.h"
#include "kernels/simd/half.h"

namespace wkv {

namespace {

// The most elements of a row that is read at once.
constexpr std::int64_t kMostColumns = std::int64_t{1} << 16;
// The most parts that an irregular tensor is read in; and the most bytes, where parts lie between each other.
constexpr std::size_t kMostViews = std::size_t{1} << 16;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 30;

template <class Number>
Number number_at(const unsigned char* elements, std::int64_t index) {
  Number number;
  std::memcpy(&number, elements + index * static_cast<std::int64_t>(sizeof number), sizeof number);
  return number;
}

// How a stored type has its elements: in blocks of so many, each of so many bytes.
struct Form {
  float (*read)(const unsigned char* blocks, std::int64_t element);
  std::int64_t elements = 1;
  std::int64_t bytes = 1;

  std::int64_t elements_of(std::uint64_t byte_count) const {
    return static_cast<std::int64_t>(byte_count) / bytes * elements;
  }
  std::uint64_t bytes_of(std::int64_t element_count) const {
    return static_cast<std::uint64_t>(element_count / elements * bytes);
  }
};

// None for types that are not known here.
std::optional<Form> form_of(StoredType type) {
  if (type == StoredType::kF32) return Form{.read = number_at<float>, .bytes = 4};
  if (type == StoredType::kF16) {
    return Form{.read = [](const unsigned char* blocks,
                           std::int64_t i) { return f16_to_f32(number_at<std::uint16_t>(blocks, i)); },
                .bytes = 2};
  }
  if (type == StoredType::kBf16) {
    return Form{.read = [](const unsigned char* blocks,
                           std::int64_t i) { return bf16_to_f32(number_at<std::uint16_t>(blocks, i)); },
                .bytes = 2};
  }
  return std::nullopt;
}

struct Axis {
  std::int64_t size;
  std::int64_t stride;
};

// The tensor's axes, outermost first, without those of one element; axes that lie like one are one.
std::vector<Axis> axes_of(const TensorEntry& tensor) {
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    const Axis axis{tensor.shape[i], tensor.strides[i]};
    if (axis.size == 1) continue;
    if (!axes.empty() && axes.back().stride == axis.size * axis.stride) {
      axes.back() = {axes.back().size * axis.size, axis.stride};
    } else {
      axes.push_back(axis);
    }
  }
  return axes;
}

// A matrix that is a part of a tensor, and how many of the tensor's elements come before.
struct View {
  TensorEntry matrix;
  std::uint64_t first;
  Form form;
};

// Cuts a tensor into matrices with rows of a bearable length.
class Cutter {
 public:
  Cutter(const TensorDirectory& directory, const TensorEntry& tensor, const Form& form)
      : directory_(directory), tensor_(tensor), form_(form), axes_(axes_of(tensor)) {
    cut(0, 0, 0);
  }

  std::vector<View> views;

 private:
  // What is left of the axes from `axis` on, from the element at `offset`.
  void cut(std::size_t axis, std::int64_t offset, std::int64_t first) {
    const std::size_t left = axes_.size() - axis;
    if (left < 2) {
      cut_run(left == 0 ? Axis{1, 1} : axes_.back(), offset, first);
    } else if (left == 2 && (axes_.back().size <= kMostColumns || axes_.back().stride != 1)) {
      add(axes_[axis], axes_.back(), offset, first);
    } else {
      std::int64_t inner = 1;
      for (std::size_t i = axis + 1; i < axes_.size(); ++i) inner *= axes_[i].size;
      for (std::int64_t i = 0; i < axes_[axis].size; ++i) {
        cut(axis + 1, offset + i * axes_[axis].stride, first + i * inner);
      }
    }
  }

  void cut_run(Axis run, std::int64_t offset, std::int64_t first) {
    const std::int64_t rows = run.size / kMostColumns;
    const std::int64_t done = rows * kMostColumns;
    if (rows > 0) add({rows, kMostColumns * run.stride}, {kMostColumns, run.stride}, offset, first);
    if (done < run.size) {
      add({1, 0}, {run.size - done, run.stride}, offset + done * run.stride, first + done);
    }
  }

  void add(Axis rows, Axis columns, std::int64_t offset, std::int64_t first) {
    TensorEntry matrix{.name = tensor_.name,
                       .type = tensor_.type,
                       .shape = {rows.size, columns.size},
                       .strides = {rows.stride, columns.stride},
                       .file = tensor_.file,
                       .offset = tensor_.offset + form_.bytes_of(offset)};
    // Where columns are not side by side, all that lies between the first and the last element is read.
    if (columns.stride != 1) bytes_ += checked_extent(directory_, matrix);
    if (views.size() == kMostViews || bytes_ > kMostBytes) {
      throw Error("ERR_WKV_UNSUPPORTED", "the tensor " + tensor_.name + " is laid out too irregularly")
          .about(tensor_.name, "rows that are contiguous", "strides " + shape_text(tensor_.strides));
    }
    views.push_back({std::move(matrix), static_cast<std::uint64_t>(first), form_});
  }

  const TensorDirectory& directory_;
  const TensorEntry& tensor_;
  const Form form_;
  const std::vector<Axis> axes_;
  std::uint64_t bytes_ = 0;
};

Form require_form(const TensorDirectory& directory, const TensorEntry& tensor) {
  const std::optional<Form> form = form_of(tensor.type);
  if (tensor.packed || !form) {
    const std::string found = tensor.packed ? name_of(tensor.packed->precision) : name_of(tensor.type);
    throw Error("ERR_WKV_UNSUPPORTED",
                "the tensor " + tensor.name + " is stored as " + found + ", which cannot be converted")
        .about(tensor.name, "f32, f16 or bf16", found);
  }
  static_cast<void>(checked_extent(directory, tensor));
  return *form;
}

[[noreturn]] void refuse_number(const std::string& tensor, StoredType type, float number,
                                std::uint64_t index) {
  throw Error("ERR_WKV_UNSUPPORTED",
              "the tensor " + tensor + " holds numbers that " + name_of(type) +
                  " cannot; use weights: " + (type == StoredType::kF16 ? "'bf16' or 'f32'" : "'f32'"))
      .about(tensor, type == StoredType::kF16 ? "at most 65504" : "at most 3.389e38",
             std::to_string(number) + " at element " + std::to_string(index));
}

// Stored elements of a view, as `type`.
std::vector<unsigned char> converted(const View& view, std::uint64_t first,
                                     std::span<const unsigned char> elements, StoredType type) {
  const std::int64_t count = view.form.elements_of(elements.size());
  std::vector<unsigned char> result(static_cast<std::size_t>(count * bytes_of(type)));
  unsigned char* to = result.data();
  for (std::int64_t i = 0; i < count; ++i, to += bytes_of(type)) {
    const float number = view.form.read(elements.data(), i);
    if (type == StoredType::kF32) {
      std::memcpy(to, &number, sizeof number);
      continue;
    }
    const std::uint16_t half = type == StoredType::kF16 ? f32_to_f16(number) : f32_to_bf16(number);
    const std::uint16_t infinity = type == StoredType::kF16 ? 0x7c00U : 0x7f80U;
    if ((half & infinity) == infinity) {
      refuse_number(view.matrix.name, type, number, first + static_cast<std::uint64_t>(i));
    }
    std::memcpy(to, &half, sizeof half);
  }
  return result;
}

}  // namespace

void read_elements(const TensorDirectory& directory, StoredType type, unsigned threads,
                   const std::atomic<bool>& cancelled, const LoadProgress& progress,
                   const ElementsVisitor& visit) {
  std::vector<std::vector<View>> views;  // of each tensor
  for (const TensorEntry& tensor : directory.tensors) {
    views.push_back(Cutter(directory, tensor, require_form(directory, tensor)).views);
  }
  TensorLoader loader(directory, threads, cancelled, progress);
  for (std::size_t tensor = 0; tensor < views.size(); ++tensor) {
    for (const View& view : views[tensor]) {
      loader.show(view.matrix, [&visit, &view, tensor, type](std::uint64_t offset,
                                                             std::span<const unsigned char> elements) {
        const std::uint64_t first = view.first + static_cast<std::uint64_t>(view.form.elements_of(offset));
        if (view.matrix.type == type) {
          visit(tensor, first, elements);
        } else {
          visit(tensor, first, converted(view, first, elements, type));
        }
      });
    }
  }
  loader.run();
}

std::vector<float> read_floats(const TensorDirectory& directory) {
  std::vector<std::uint64_t> begins;
  std::uint64_t end = 0;
  for (const TensorEntry& tensor : directory.tensors) {
    begins.push_back(end);
    end += static_cast<std::uint64_t>(element_count(tensor));
  }
  std::vector<float> numbers(static_cast<std::size_t>(end));
  const std::atomic<bool> cancelled{false};
  read_elements(directory, StoredType::kF32, 1, cancelled, {},
                [&](std::size_t tensor, std::uint64_t first, std::span<const unsigned char> elements) {
                  std::memcpy(numbers.data() + begins[tensor] + first, elements.data(), elements.size());
                });
  return numbers;
}

}  // namespace wkv
