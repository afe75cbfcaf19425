#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/dot.h"
#include "linear_model/gradient_descent.h"

namespace manyfit {
namespace {

constexpr int64_t kTile = 128;      // rows of one matrix product
constexpr int64_t kTask = 1 << 16;  // numbers of X that are worth a task
constexpr int64_t kMostTasks = 64;  // each holds a gradient
constexpr int64_t kFewOutputs = 4;  // up to which a row at a time beats a matrix product

template <class T>
using RowMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// One job on its way.
struct State {
  size_t job;
  RowMatrixXd coef, coef_velocity;
  Eigen::VectorXd intercept, intercept_velocity;
  double weight = 0;  // W
  double bound = 0;   // a larger loss has grown without bound
  double least = 0;   // a smaller gradient ends the descent
};

// The jobs that still run, stacked: what a pass over the rows reads.
template <class T>
struct Stack {
  RowMatrix<T> coef;              // (jobs K, d)
  std::vector<double> intercept;  // (jobs K,)
  std::vector<int64_t> split;     // (jobs,)
};

// What a task of rows adds up, and the memory it works in.
template <class T>
struct Task {
  RowMatrix<T> rows;    // (tile, d) where they do not lie together
  RowMatrix<T> output;  // (tile, jobs K), then dL/dz
  RowMatrix<T> sum;     // (jobs K, d) gradients of a tile
  RowMatrixXd gradient;
  std::vector<double> intercept, loss;

  void clear(int64_t jobs, int64_t outputs, int64_t d) {
    output.resize(kTile, jobs * outputs);
    sum.resize(jobs * outputs, d);
    gradient.setZero(jobs * outputs, d);
    intercept.assign(static_cast<size_t>(jobs * outputs), 0.0);
    loss.assign(static_cast<size_t>(jobs), 0.0);
  }
};

template <class T>
class Descender {
 public:
  Descender(MatrixView<const T> X, VectorView<const T> y, VectorView<const int64_t> codes,
            int64_t classes, VectorView<const T> w, const Folds& folds,
            const std::vector<GradientJob>& jobs, const Context& context)
      : X_(X),
        y_(y),
        codes_(codes),
        outputs_(codes.empty() || classes == 2 ? 1 : classes),
        w_(w),
        folds_(folds),
        jobs_(jobs),
        context_(context),
        fits_(jobs.size()) {
    const int64_t tiles = (X.rows + kTile - 1) / kTile;
    const int64_t worth = std::max<int64_t>(1, kTask / (kTile * std::max<int64_t>(X.cols, 1)));
    tiles_per_task_ = std::max(worth, (tiles + kMostTasks - 1) / kMostTasks);
    tasks_.resize(static_cast<size_t>((tiles + tiles_per_task_ - 1) / tiles_per_task_));
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t end = std::min(X.rows, (tile + 1) * kTile);
      bool together = true;
      for (int64_t at = tile * kTile + 1; at < end; ++at)
        together = together && folds.row(at) == folds.row(at - 1) + 1;
      together_.push_back(together);
    }
    if (folds.n_atoms() > 1)
      for (int64_t atom = 0; atom < folds.n_atoms(); ++atom)
        atoms_.insert(atoms_.end(),
                      static_cast<size_t>(folds.atom_begin[atom + 1] - folds.atom_begin[atom]),
                      static_cast<int32_t>(atom));
  }

  std::vector<GradientFit> run() {
    start();
    for (int64_t step = 0; !states_.empty(); ++step) {
      context_.check();
      pass();
      for (size_t s = 0; s < states_.size(); ++s) advance(s, step);
      std::erase_if(states_, [&](const State& state) { return ended_[state.job] != 0; });
    }
    return std::move(fits_);
  }

 private:
  void start() {
    ended_.assign(jobs_.size(), 0);
    for (size_t b = 0; b < jobs_.size(); ++b) {
      State state{b, jobs_[b].coef, RowMatrixXd::Zero(outputs_, X_.cols), jobs_[b].intercept,
                  Eigen::VectorXd::Zero(outputs_)};
      double zero_loss = 0;  // of predicting zero
      for (int64_t atom = 0; atom < folds_.n_atoms(); ++atom) {
        const double times = taken(jobs_[b].split, atom);
        if (times == 0) continue;
        for (int64_t at = folds_.atom_begin[atom]; at < folds_.atom_begin[atom + 1]; ++at) {
          const double weight = times * weight_of(folds_.row(at));
          state.weight += weight;
          if (codes_.empty()) {
            const double target = static_cast<double>(y_[folds_.row(at)]);
            zero_loss += weight * target * target;
          }
        }
      }
      state.bound = codes_.empty() ? zero_loss / state.weight
                                   : std::log(static_cast<double>(std::max<int64_t>(2, outputs_)));
      fits_[b].coef = state.coef;
      fits_[b].intercept = state.intercept;
      states_.push_back(std::move(state));
    }
  }

  double taken(int64_t split, int64_t atom) const {
    return folds_.train[static_cast<size_t>(split * folds_.n_atoms() + atom)];
  }
  double weight_of(int64_t row) const { return w_.empty() ? 1.0 : static_cast<double>(w_[row]); }

  // Loss and gradient of every running job: the sums over all tasks, in the order of the tasks.
  void pass() {
    const auto running = static_cast<int64_t>(states_.size()), d = X_.cols;
    stack_.coef.resize(running * outputs_, d);
    stack_.intercept.clear();
    stack_.split.clear();
    for (int64_t s = 0; s < running; ++s) {
      const State& state = states_[static_cast<size_t>(s)];
      stack_.coef.middleRows(s * outputs_, outputs_) = state.coef.cast<T>();
      stack_.intercept.insert(stack_.intercept.end(), state.intercept.begin(),
                              state.intercept.end());
      stack_.split.push_back(jobs_[state.job].split);
    }
    context_.parallel_for("gradient descent", static_cast<int64_t>(tasks_.size()), [&](int64_t t) {
      Task<T>& task = tasks_[static_cast<size_t>(t)];
      task.clear(running, outputs_, d);
      const int64_t end = std::min(X_.rows, (t + 1) * tiles_per_task_ * kTile);
      for (int64_t at = t * tiles_per_task_ * kTile; at < end; at += kTile) {
        context_.check();
        add_tile(task, at, std::min(end, at + kTile));
      }
    });
    for (size_t t = 1; t < tasks_.size(); ++t) {
      tasks_[0].gradient += tasks_[t].gradient;
      for (size_t i = 0; i < tasks_[0].intercept.size(); ++i)
        tasks_[0].intercept[i] += tasks_[t].intercept[i];
      for (size_t i = 0; i < tasks_[0].loss.size(); ++i) tasks_[0].loss[i] += tasks_[t].loss[i];
    }
  }

  // Rows at positions [begin, end).
  void add_tile(Task<T>& task, int64_t begin, int64_t end) {
    using Rows = Eigen::Map<const RowMatrix<T>, 0, Eigen::OuterStride<>>;
    const int64_t rows = end - begin, d = X_.cols, outputs = stack_.coef.rows();
    const bool in_place = X_.col_stride == 1 && X_.row_stride >= d &&
                          together_[static_cast<size_t>(begin / kTile)] != 0;
    if (!in_place) {
      task.rows.resize(kTile, d);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t row = folds_.row(begin + r);
        for (int64_t j = 0; j < d; ++j) task.rows(r, j) = X_(row, j);
      }
    }
    const T* first = in_place ? X_.row(folds_.row(begin)) : task.rows.data();
    const int64_t stride = in_place ? X_.row_stride : d;
    task.sum.setZero();
    if (outputs <= kFewOutputs) {
      for (int64_t r = 0; r < rows; ++r) {
        const T* x = first + r * stride;
        for (int64_t c = 0; c < outputs; ++c)
          task.output(r, c) = static_cast<T>(dot(x, stack_.coef.data() + c * d, d));
        differentiate(task, r, begin + r);
        for (int64_t c = 0; c < outputs; ++c)
          if (task.output(r, c) != 0) add_scaled(x, task.output(r, c), task.sum.data() + c * d, d);
      }
      task.gradient += task.sum.template cast<double>();
      return;
    }
    const Rows x(first, rows, d, Eigen::OuterStride<>(stride));
    task.output.topRows(rows).noalias() = x * stack_.coef.transpose();
    for (int64_t r = 0; r < rows; ++r) differentiate(task, r, begin + r);
    task.sum.noalias() = task.output.topRows(rows).transpose() * x;
    task.gradient += task.sum.template cast<double>();
  }

  // Replaces the outputs of one row by the derivatives of the loss, which it adds up.
  void differentiate(Task<T>& task, int64_t r, int64_t position) {
    const int64_t row = folds_.row(position), atom = atom_of(position);
    const double weight = weight_of(row);
    for (size_t s = 0; s < stack_.split.size(); ++s) {
      T* output = task.output.data() + r * task.output.cols() + static_cast<int64_t>(s) * outputs_;
      const double* intercept = stack_.intercept.data() + s * static_cast<size_t>(outputs_);
      double* slope = task.intercept.data() + s * static_cast<size_t>(outputs_);
      const double share = weight * taken(stack_.split[s], atom);
      if (share == 0) {
        std::fill(output, output + outputs_, T(0));
      } else if (codes_.empty()) {
        const double residual =
            static_cast<double>(output[0]) + intercept[0] - static_cast<double>(y_[row]);
        task.loss[s] += share * residual * residual;
        slope[0] += 2 * share * residual;
        output[0] = static_cast<T>(2 * share * residual);
      } else if (outputs_ == 1) {
        const double z = static_cast<double>(output[0]) + intercept[0];
        const double positive = static_cast<double>(codes_[row]);
        const double tail = std::exp(-std::abs(z));
        const double probability = (z >= 0 ? 1.0 : tail) / (1.0 + tail);
        task.loss[s] += share * (std::log1p(tail) + std::max(z, 0.0) - positive * z);
        slope[0] += share * (probability - positive);
        output[0] = static_cast<T>(share * (probability - positive));
      } else {
        softmax(output, intercept, codes_[row], share, slope, task.loss[s]);
      }
    }
  }

  void softmax(T* output, const double* intercept, int64_t code, double share, double* slope,
               double& loss) const {
    double largest = static_cast<double>(output[0]) + intercept[0];
    for (int64_t k = 1; k < outputs_; ++k)
      largest = std::max(largest, static_cast<double>(output[k]) + intercept[k]);
    const double own = static_cast<double>(output[code]) + intercept[code] - largest;
    double total = 0;
    for (int64_t k = 0; k < outputs_; ++k) {
      const double e = std::exp(static_cast<double>(output[k]) + intercept[k] - largest);
      total += e;
      output[k] = static_cast<T>(e);
    }
    loss += share * (std::log(total) - own);
    for (int64_t k = 0; k < outputs_; ++k) {
      const double slope_k =
          share * (static_cast<double>(output[k]) / total - (k == code ? 1.0 : 0.0));
      slope[k] += slope_k;
      output[k] = static_cast<T>(slope_k);
    }
  }

  int64_t atom_of(int64_t position) const {
    return atoms_.empty() ? 0 : atoms_[static_cast<size_t>(position)];
  }

  // Notes where job s stands after `step` steps, and takes the next one.
  void advance(size_t s, int64_t step) {
    State& state = states_[s];
    const GradientJob& job = jobs_[state.job];
    GradientFit& fit = fits_[state.job];
    const double loss = tasks_[0].loss[s] / state.weight;
    const auto at = static_cast<int64_t>(s) * outputs_;
    RowMatrixXd slope = tasks_[0].gradient.middleRows(at, outputs_) / state.weight;
    Eigen::VectorXd intercept_slope = Eigen::VectorXd::Zero(outputs_);
    if (job.fit_intercept)
      for (int64_t k = 0; k < outputs_; ++k)
        intercept_slope(k) = tasks_[0].intercept[static_cast<size_t>(at + k)] / state.weight;
    const double norm = std::hypot(slope.norm(), intercept_slope.norm());
    fit.steps = step;
    ended_[state.job] = 1;
    fit.end = Descent::diverged;
    if (!std::isfinite(loss) || !std::isfinite(norm) || !state.coef.allFinite() ||
        !state.intercept.allFinite())
      return;
    fit.coef = state.coef;
    fit.intercept = state.intercept;
    fit.loss.push_back(loss);
    fit.gradient_norm.push_back(norm);
    if (job.trace) {
      fit.coefs.insert(fit.coefs.end(), state.coef.data(), state.coef.data() + state.coef.size());
      fit.intercepts.insert(fit.intercepts.end(), state.intercept.begin(), state.intercept.end());
    }
    if (step == 0) {
      state.bound = kGrownWithoutBound * std::max(loss, state.bound);
      state.least = job.tol * std::max(1.0, norm);
    }
    if (loss > state.bound) return;
    fit.end = Descent::converged;
    if (norm <= state.least) return;
    fit.end = Descent::exhausted;
    if (step == job.max_iter) return;
    ended_[state.job] = 0;
    state.coef_velocity = job.momentum * state.coef_velocity - job.learning_rate * slope;
    state.intercept_velocity =
        job.momentum * state.intercept_velocity - job.learning_rate * intercept_slope;
    state.coef += state.coef_velocity;
    state.intercept += state.intercept_velocity;
  }

  MatrixView<const T> X_;
  VectorView<const T> y_;
  VectorView<const int64_t> codes_;
  int64_t outputs_;
  VectorView<const T> w_;
  const Folds& folds_;
  const std::vector<GradientJob>& jobs_;
  const Context& context_;
  std::vector<GradientFit> fits_;
  std::vector<uint8_t> together_;  // (tiles,) whether a tile's rows lie one after another
  std::vector<int32_t> atoms_;     // (n,) by position; empty: one atom
  std::vector<uint8_t> ended_;     // (jobs,)
  std::vector<State> states_;
  Stack<T> stack_;
  std::vector<Task<T>> tasks_;
  int64_t tiles_per_task_ = 1;
};

}  // namespace

template <class T>
std::vector<GradientFit> gradient_descent_cpu(MatrixView<const T> X, VectorView<const T> y,
                                              VectorView<const int64_t> codes, int64_t classes,
                                              VectorView<const T> w, const Folds& folds,
                                              const std::vector<GradientJob>& jobs,
                                              const Context& context) {
  return Descender<T>(X, y, codes, classes, w, folds, jobs, context).run();
}

#define MANYFIT_INSTANTIATE(T)                                                      \
  template std::vector<GradientFit> gradient_descent_cpu(                           \
      MatrixView<const T>, VectorView<const T>, VectorView<const int64_t>, int64_t, \
      VectorView<const T>, const Folds&, const std::vector<GradientJob>&, const Context&);
MANYFIT_INSTANTIATE(float)
MANYFIT_INSTANTIATE(double)
#undef MANYFIT_INSTANTIATE

}  // namespace manyfit
