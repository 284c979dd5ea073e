#include "engine/elements.h"

#include <cstring>
#include <string>
#include <utility>

#include "engine/error.h"
#include "engine/stored_numbers.h"

namespace wkv {

namespace {

// The most elements of a row that is read at once; more where they do not lie side by side, as in a
// transposed matrix: to read its rows one by one would be to read all of it for each.
constexpr std::int64_t kMaxColumns = std::int64_t{1} << 16;
constexpr std::int64_t kMaxApartColumns = std::int64_t{1} << 18;
// What irregular tensors may take, all of a directory together: parts that they are read in, beside two for
// each tensor; and bytes that are read where parts lie between each other, beside what the files have.
constexpr std::size_t kMaxViews = std::size_t{1} << 16;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 30;

// How much of that is left.
struct Budget {
  explicit Budget(const TensorDirectory& directory) : views(kMaxViews + 2 * directory.tensors.size()) {
    for (const SourceFile& file : directory.files) bytes += file.size;
  }

  std::size_t views;
  std::uint64_t bytes = kMaxBytes;
};

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
};

// Cuts a tensor into matrices with rows of a bearable length.
class Cutter {
 public:
  Cutter(const TensorDirectory& directory, const TensorEntry& tensor, Budget& budget)
      : directory_(directory), tensor_(tensor), axes_(axes_of(tensor)), budget_(budget) {
    cut(0, 0, 0);
  }

  std::vector<View> views;

 private:
  // What is left of the axes from `axis` on, from the element at `offset`.
  void cut(std::size_t axis, std::int64_t offset, std::int64_t first) {
    const std::size_t left = axes_.size() - axis;
    if (left < 2) {
      cut_run(left == 0 ? Axis{1, 1} : axes_.back(), offset, first);
    } else if (left == 2 &&
               axes_.back().size <= (axes_.back().stride == 1 ? kMaxColumns : kMaxApartColumns)) {
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
    const std::int64_t rows = run.size / kMaxColumns;
    const std::int64_t done = rows * kMaxColumns;
    if (rows > 0) add({rows, kMaxColumns * run.stride}, {kMaxColumns, run.stride}, offset, first);
    if (done < run.size) {
      add({1, 0}, {run.size - done, run.stride}, offset + done * run.stride, first + done);
    }
  }

  void add(Axis rows, Axis columns, std::int64_t offset, std::int64_t first) {
    const StoredType type = tensor_.type;
    if (offset % form_of(type).numbers != 0) refuse_layout();
    TensorEntry matrix{.name = tensor_.name,
                       .type = type,
                       .shape = {rows.size, columns.size},
                       .strides = {rows.stride, columns.stride},
                       .file = tensor_.file,
                       .offset = tensor_.offset + static_cast<std::uint64_t>(bytes_of(type, offset)),
                       .applied = tensor_.applied,
                       .scale = tensor_.scale};
    // Where columns are not side by side, all that lies between the first and the last element is read.
    const std::uint64_t bytes = columns.stride == 1 ? 0 : checked_extent(directory_, matrix);
    if (budget_.views == 0 || budget_.bytes < bytes) refuse_layout();
    --budget_.views;
    budget_.bytes -= bytes;
    views.push_back({std::move(matrix), static_cast<std::uint64_t>(first)});
  }

  [[noreturn]] void refuse_layout() const {
    throw Error("ERR_WKV_UNSUPPORTED", "the tensor " + tensor_.name + " is laid out too irregularly")
        .about(tensor_.name, "rows that are contiguous", "strides " + shape_text(tensor_.strides));
  }

  const TensorDirectory& directory_;
  const TensorEntry& tensor_;
  const std::vector<Axis> axes_;
  Budget& budget_;
};

void require_readable(const TensorDirectory& directory, const TensorEntry& tensor) {
  if (tensor.packed) {
    const std::string found = name_of(tensor.packed->precision);
    throw Error("ERR_WKV_UNSUPPORTED",
                "the tensor " + tensor.name + " is packed as " + found + ", which cannot be converted")
        .about(tensor.name, "weights that are not packed", found);
  }
  static_cast<void>(checked_extent(directory, tensor));
}

// What elements are before they are converted: nothing is rounded twice.
StoredType type_before(const TensorEntry& tensor) {
  return is_plain(tensor) ? tensor.type : StoredType::kF32;
}

// Elements of a view, as `type`.
std::vector<unsigned char> converted(const View& view, std::uint64_t first,
                                     std::span<const unsigned char> elements, StoredType type) {
  const StoredType from = type_before(view.matrix);
  std::vector<float> numbers(elements.size() / static_cast<std::size_t>(bytes_of(from)));
  widen(from, elements.data(), numbers);
  std::vector<unsigned char> result(numbers.size() * static_cast<std::size_t>(bytes_of(type)));
  narrow(numbers, type, result.data());
  const std::int64_t bad = first_not_finite(type, result.data(), static_cast<std::int64_t>(numbers.size()));
  if (bad >= 0) {
    const std::uint64_t index = first + static_cast<std::uint64_t>(bad);
    refuse_numbers(
        view.matrix, precision_of(type),
        std::to_string(numbers[static_cast<std::size_t>(bad)]) + " at element " + std::to_string(index));
  }
  return result;
}

}  // namespace

void read_elements(const TensorDirectory& directory, StoredType type, unsigned threads,
                   const std::atomic<bool>& cancelled, const LoadProgress& progress,
                   const ElementsVisitor& visit) {
  std::vector<std::vector<View>> views;  // of each tensor
  Budget budget(directory);
  for (const TensorEntry& tensor : directory.tensors) {
    require_readable(directory, tensor);
    views.push_back(Cutter(directory, tensor, budget).views);
  }
  TensorLoader loader(directory, threads, cancelled, progress);
  for (std::size_t tensor = 0; tensor < views.size(); ++tensor) {
    for (const View& view : views[tensor]) {
      const StoredType from = type_before(view.matrix);
      loader.show(
          view.matrix, from,
          [&visit, &view, tensor, type, from](std::uint64_t offset, std::span<const unsigned char> elements) {
            const std::uint64_t first = view.first + offset / static_cast<std::uint64_t>(bytes_of(from));
            if (from == type) {
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
