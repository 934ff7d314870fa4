// Matrix products by oneDNN's own inner loop, called without its library's bookkeeping around it.
// Compiled as one more kernel of the gradient step; see products.py.

#include <torch/csrc/inductor/cpp_prefix.h>

namespace at::native::cpublas {  // part of PyTorch's library: C (m, n) = A (m, k) B (k, n), all with rows in order
TORCH_API void brgemm(int64_t m, int64_t n, int64_t k, int64_t row_a, int64_t row_b, int64_t row_c, bool add,
                      const float* a, const float* b, float* c, bool paired);
TORCH_API void brgemm(int64_t m, int64_t n, int64_t k, int64_t row_a, int64_t row_b, int64_t row_c, bool add,
                      const at::BFloat16* a, const at::BFloat16* b, float* c, bool paired);
TORCH_API void brgemm_release(bool paired);
}  // namespace at::native::cpublas

namespace {

using at::native::cpublas::brgemm;
using Half = at::BFloat16;

constexpr int64_t TILE = 64;                  // rows and columns of the result that are one piece of work
constexpr int64_t FAR = 512 * 1024;           // numbers from first to last row, from which these leave the cache too early
constexpr int64_t WORTH_THREADS = 64 * 1024;  // multiply-adds from which a second thread gains more than it costs

template <typename T>
struct Matrices {  // a stack of matrices whose rows or columns lie in order
    const T* first;
    int64_t stack, row, column;  // steps from one to the next, in numbers

    const T* at(int64_t copy, int64_t i, int64_t j) const { return first + copy * stack + i * row + j * column; }
};

// Rows or columns of one matrix in the order that the inner loop wants, for the pieces of work that share them.
template <typename T>
struct Strip {
    std::vector<T> memory;
    int64_t copy, start;

    template <typename Fill>
    const T* of(int64_t copy_wanted, int64_t start_wanted, int64_t size, Fill fill) {
        if (static_cast<int64_t>(memory.size()) < size) memory.resize(size);
        if (copy != copy_wanted || start != start_wanted) fill(memory.data());
        copy = copy_wanted, start = start_wanted;
        return memory.data();
    }
};

// to (columns, rows) = the transpose of from (rows, columns)
void transpose(const float* from, int64_t step, float* to, int64_t to_step, int64_t rows, int64_t columns) {
    at::vec::transpose_mxn<float>(from, step, to, to_step, rows, columns);
}

void transpose(const Half* from, int64_t step, Half* to, int64_t to_step, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i += 32)
        for (int64_t j = 0; j < columns; j += 32)
            at::vec::transpose_mxn<Half>(from + i * step + j, step, to + j * to_step + i, to_step,
                                         std::min<int64_t>(32, rows - i), std::min<int64_t>(32, columns - j));
}

// float: turned if its rows do not lie in order, copied if they lie far apart and several pieces of work read them
const float* columns_of(const Matrices<float>& w, int64_t copy, int64_t j, int64_t k, int64_t width, bool shared,
                        int64_t& step, Strip<float>& strip) {
    const float* from = w.at(copy, 0, j);
    step = w.row;
    if (w.column == 1 && (k * w.row < FAR || !shared)) return from;
    step = TILE;
    return strip.of(copy, j, TILE * k, [&](float* to) {
        if (w.column != 1) return transpose(from, w.column, to, TILE, width, k);
        for (int64_t i = 0; i < k; ++i) std::copy_n(from + i * w.row, width, to + i * TILE);
    });
}

// bfloat16: every two numbers that are one below the other become neighbours
const Half* columns_of(const Matrices<Half>& w, int64_t copy, int64_t j, int64_t k, int64_t width, bool,
                       int64_t& step, Strip<Half>& strip) {
    const Half* from = w.at(copy, 0, j);
    step = width;
    return strip.of(copy, j, TILE * k, [&](Half* to) {
        if (w.column == 1) return at::vec::pack_vnni2(from, to, w.row, k, width);
        transpose(reinterpret_cast<const float*>(from), w.column / 2, reinterpret_cast<float*>(to), width, width, k / 2);
    });
}

void piece_of_work(int64_t m, int64_t n, int64_t k, int64_t row_a, int64_t row_b, int64_t row_c, const float* a,
                   const float* b, float* c) {
    brgemm(m, n, k, row_a, row_b, row_c, false, a, b, c, false);
}

void piece_of_work(int64_t m, int64_t n, int64_t k, int64_t row_a, int64_t row_b, int64_t row_c, const Half* a,
                   const Half* b, Half* c) {
    alignas(64) float sums[TILE * TILE];
    brgemm(m, n, k, row_a, row_b, TILE, false, a, b, sums, true);
    for (int64_t i = 0; i < m; ++i) at::vec::convert(sums + i * TILE, c + i * row_c, n);
}

template <typename T>
void product(const Matrices<T>& x, const Matrices<T>& w, T* result, int64_t copies, int64_t m, int64_t k, int64_t n,
             int64_t threads) {
    const int64_t down = (m + TILE - 1) / TILE, across = (n + TILE - 1) / TILE, pieces = copies * down * across;
    const auto work = [&](int64_t first, int64_t last) {
        static thread_local Strip<T> rows, columns;
        rows.copy = columns.copy = -1;
        for (int64_t piece = first; piece < last; ++piece) {
            const int64_t copy = piece / (down * across), rest = piece % (down * across);
            const bool keep_rows = x.column != 1;  // neighbouring pieces share what has to be brought into order
            const int64_t i = TILE * (keep_rows ? rest / across : rest % down);
            const int64_t j = TILE * (keep_rows ? rest % across : rest / down);
            const int64_t height = std::min(TILE, m - i), width = std::min(TILE, n - j);
            int64_t row_a = x.row, row_b;
            const T* a = x.at(copy, i, 0);
            if (keep_rows) {
                a = rows.of(copy, i, TILE * k, [&](T* to) { transpose(x.at(copy, i, 0), x.column, to, k, k, height); });
                row_a = k;
            }
            const T* b = columns_of(w, copy, j, k, width, !keep_rows, row_b, columns);
            piece_of_work(height, width, k, row_a, row_b, n, a, b, result + (copy * m + i) * n + j);
        }
        if constexpr (std::is_same_v<T, Half>) at::native::cpublas::brgemm_release(true);
    };
    if (threads == 1 || pieces == 1 || copies * m * k * n < WORTH_THREADS) return work(0, pieces);
#pragma omp parallel num_threads(threads)
    {
        const int64_t own = omp_get_thread_num(), all = omp_get_num_threads();
        work(pieces * own / all, pieces * (own + 1) / all);
    }
}

}  // namespace

// result (copies, m, n), in order, = x (copies, m, k) w (copies, k, n), all of them float or all bfloat16
extern "C" void rucksac_product(bool half, const void* x, int64_t x_offset, int64_t x_stack, int64_t x_row,
                                int64_t x_column, const void* w, int64_t w_offset, int64_t w_stack, int64_t w_row,
                                int64_t w_column, void* result, int64_t copies, int64_t m, int64_t k, int64_t n,
                                int64_t threads) {
    const auto run = [&](auto type) {
        using T = decltype(type);
        const Matrices<T> left{static_cast<const T*>(x) + x_offset, x_stack, x_row, x_column};
        const Matrices<T> right{static_cast<const T*>(w) + w_offset, w_stack, w_row, w_column};
        product(left, right, static_cast<T*>(result), copies, m, k, n, threads);
    };
    half ? run(Half{}) : run(float{});
}
