#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <type_traits>

#include "core/linalg.h"
#include "linear_model/huber.h"
#include "linear_model/huber_line.h"
#include "linear_model/tile_pass.h"

namespace manyfit {
namespace {

constexpr const char* kStage = "Huber regression";
constexpr double kLeastCondition = 1e-14;
// Eigenvalues of the rows' Gram, columns scaled alike, over the largest: these say something, and
// these, a column, say nothing.
constexpr double kIndependent = 1e-11, kDependent = 1e-15;
constexpr double kLargestEpsilon = 1e100;  // its square is finite
constexpr double kLevelDecrement = 1e-4;   // where a bound of sigma is not the last, of W sigma
constexpr double kSettled = 1e-9;
constexpr double kFirstShrink = 10, kShrink = 3, kMostShrink = 1e4;
constexpr double kLeastDamping = 1e-13, kMostDamping = 10, kDampingFactor = 100;
constexpr double kDampedCondition = 1e-7;  // against the condition with all rows
constexpr int64_t kLineBytes = int64_t{128} << 20;

// What the data's type leaves: of the decrement over F, and of sigma over the inliers' targets.
struct Rounding {
  double small, decrement, scale;
  bool resolves;  // whether a smaller sigma may be taken for zero
};

struct HuberLoss {
  static constexpr int kSlopes = 2;
  static constexpr int kTerms = 4;
  double limit = 0;  // epsilon sigma
  double shift = 0;  // of the targets
  void operator()(double prediction, double y, RowTerms& row) const {
    const double target = y - shift, residual = target - prediction;
    if (std::abs(residual) <= limit) {
      row.curvature = 1;
      row.slopes[0] = residual;
      row.terms[0] = 1;
      row.terms[1] = residual * residual;
      row.terms[2] = target * target;
    } else {  // also where it is NaN
      row.slopes[1] = residual < 0 ? -1 : 1;
      row.terms[3] = std::abs(residual);
    }
  }
};

// What a pass finds, for the coefficients that a job may choose.
struct Sums {
  Eigen::MatrixXd gram;             // of the inliers
  Eigen::VectorXd products, signs;  // with the inliers' residuals, with the outliers' signs
  double inliers, squares,
      targets;  // weights, and squares of residuals and targets, of the inliers
  double outliers_size;
  bool finite() const {
    return gram.allFinite() && products.allFinite() && signs.allFinite() &&
           std::isfinite(squares + targets + outliers_size);
  }
};

class Search {
 public:
  Search(const HuberJob& job, const std::vector<double>& shift, double target_shift,
         const Rounding& rounding)
      : job_(job),
        rounding_(rounding),
        epsilon_(std::min(job.epsilon, kLargestEpsilon)),
        d_(static_cast<int64_t>(shift.size())),
        shift_(Eigen::Map<const Eigen::VectorXd>(shift.data(), d_)),
        target_shift_(target_shift),
        warm_(job.start.size() > 0),
        basis_(point_basis(shift, job.fit_intercept)),
        free_(Eigen::VectorXd::Zero(basis_.cols())) {
    coef_basis_ = Eigen::MatrixXd::Identity(basis_.cols(), basis_.cols()).bottomRows(d_);
    penalty_ = coef_basis_.transpose() * coef_basis_;
    if (warm_) {
      free_.tail(d_) = job.start.head(d_);
      if (job.fit_intercept)
        free_(0) = job.start(d_) + shift_.dot(job.start.head(d_)) - target_shift_;
      scale_ = std::max(job.start(d_ + 1), kLeastScale);
    }
    // Without an intercept the targets are as they are.
    if (!job.fit_intercept) target_shift_ = 0;
  }

  bool running() const { return running_; }
  bool started() const { return started_; }
  bool stepping() const { return running_ && stepping_; }
  int64_t split() const { return job_.split; }
  double target_shift() const { return target_shift_; }

  TileJob<HuberLoss> tile_job() const {
    const double limit = started_ ? epsilon_ * scale_ : std::numeric_limits<double>::infinity();
    return {job_.split, basis_ * free_, {limit, target_shift_}};
  }

  // All rows count as inliers in the first pass: least squares is where the search begins.
  void begin(const TileSums& tile, const Context& context) {
    started_ = true;
    stepping_ = false;
    const Sums sums = project(tile);
    weight_ = sums.inliers;
    if (!sums.finite() || !(weight_ > 0)) return stop(NewtonStatus::failed);
    all_ = sums.gram;
    const double spread = std::sqrt(sums.targets / weight_);
    const double scale = std::sqrt(sums.squares / weight_);
    const Cholesky factor(all_, context);
    condition_ = factor.reciprocal_condition();
    if (!(condition_ > kLeastCondition)) {
      started_ = false;
      return reduce(context);
    }
    least_ = scale;
    if (!warm_) {
      Eigen::MatrixXd step = sums.products;
      factor.solve(step);
      free_ += step.col(0);
      const double squares =
          sums.squares - 2 * step.col(0).dot(sums.products) + step.col(0).dot(all_ * step.col(0));
      least_ = std::sqrt(std::max(squares, 0.0) / weight_);
    }
    unresolved_ = std::max(rounding_.scale * spread, kLeastScale);
    least_ = std::max(least_, unresolved_);
    if (warm_ && scale_ > unresolved_)
      least_ = std::max(scale_ / kFirstShrink, unresolved_);  // sigma may well stay
    else
      scale_ = least_;
  }

  // The next step from the sums at this point.
  void choose(const TileSums& tile, const Context& context) {
    const Sums sums = project(tile);
    stepping_ = true;
    if (!sums.finite()) return stop(NewtonStatus::failed);
    const double outliers = std::max(weight_ - sums.inliers, 0.0);
    const double excess = epsilon_ * epsilon_ - 1;
    const double value = scale_ * (sums.inliers - excess * outliers) + sums.squares / scale_ +
                         2 * epsilon_ * sums.outliers_size +
                         job_.alpha * free_.dot(penalty_ * free_);
    if (sums.inliers > 0)
      unresolved_ = std::max(rounding_.scale * std::sqrt(sums.targets / sums.inliers), kLeastScale);
    const bool bounded = scale_ <= least_ * (1 + 1e-12);
    if (!direct(sums, bounded, context)) return stop(NewtonStatus::failed);
    const double decrement = decrement_;
    // dF/dsigma, zero but at the first point after a start.
    const double tension = sums.inliers - excess * outliers - sums.squares / (scale_ * scale_);
    const bool settled = model_.n_iter > 0 || std::abs(tension) <= kSettled * weight_;
    const bool rounded = decrement <= rounding_.decrement * std::abs(value) || stuck_;
    stuck_ = false;
    if (!bounded) {
      const bool small =
          gradient_ <= job_.tolerance && decrement <= rounding_.small * std::abs(value);
      if (settled && (rounded || small)) return finish(sums, outliers);
    } else if (rounded || decrement <= kLevelDecrement * weight_ * least_) {
      if (least_ <= unresolved_) {  // what the data's type resolves is reached
        if (!rounding_.resolves) return stop(NewtonStatus::failed);
        closing_ = true;
        scale_ = least_ = kLeastScale;  // along which the solution goes on to exact rows
        if (!direct(sums, true, context)) stop(NewtonStatus::failed);
        return;
      }
      if (model_.n_iter >= job_.max_iter) return stop(NewtonStatus::stopped);
      shrink_ = model_.n_iter - level_ > 1 || level_ < 0 ? kShrink
                                                         : std::min(shrink_ * shrink_, kMostShrink);
      least_ = std::max(least_ / (level_ < 0 ? kFirstShrink : shrink_), unresolved_);
      level_ = model_.n_iter;
      scale_ = least_;
      if (!direct(sums, true, context)) return stop(NewtonStatus::failed);
      predicted_ = true;
    }
    if (model_.n_iter >= job_.max_iter) return stop(NewtonStatus::stopped);
    ++model_.n_iter;
  }

  // The point and the step, (1 + d, 2).
  Eigen::MatrixXd points() const {
    Eigen::MatrixXd both(basis_.rows(), 2);
    both.col(0) = basis_ * free_;
    both.col(1) = basis_ * step_;
    return both;
  }

  // Takes the best part of the step; `products` of the rows with points().
  void move(const HuberRows& rows, Eigen::MatrixXd products, const Context& context) {
    for (int64_t i = 0; i < products.rows(); ++i)
      products(i, 0) = (rows.targets[i] - target_shift_) - products(i, 0);
    const Eigen::VectorXd penalised = penalty_ * step_;
    const HuberLine line{&rows,
                         job_.split,
                         epsilon_,
                         least_,
                         products.col(0).data(),
                         products.col(1).data(),
                         2 * job_.alpha * free_.dot(penalised),
                         2 * job_.alpha * step_.dot(penalised)};
    const HuberPoint found = huber_search(line, scale_, context);
    stuck_ = found.length == 0 && !predicted_;
    predicted_ = false;
    free_ += found.length * step_;
    scale_ = found.scale;
    if (closing_) stop(NewtonStatus::converged);
  }

  HuberModel model() const {
    HuberModel model = model_;
    model.coef = coef_basis_ * free_;
    if (job_.fit_intercept) model.intercept = free_(0) + target_shift_ - shift_.dot(model.coef);
    model.scale = scale_;
    return model;
  }

 private:
  void stop(NewtonStatus status) {
    running_ = false;
    model_.status = status;
  }

  // One more step, now that all of it is inside the quadratic part, with sigma as it follows.
  void finish(const Sums& sums, double outliers) {
    const double free = sums.inliers - (epsilon_ * epsilon_ - 1) * outliers;
    const double squares =
        sums.squares - 2 * step_.dot(sums.products) + step_.dot(sums.gram * step_);
    if (free > 0 && squares > 0) {
      free_ += step_;
      scale_ = std::max(std::sqrt(squares / free), kLeastScale);
    }
    const bool resolved = rounding_.resolves || scale_ > unresolved_;
    stop(resolved ? NewtonStatus::converged : NewtonStatus::failed);
  }

  Sums project(const TileSums& tile) const {
    return {basis_.transpose() * tile.gram * basis_,
            basis_.transpose() * tile.vectors[0],
            basis_.transpose() * tile.vectors[1],
            tile.scalars[0],
            tile.scalars[1],
            tile.scalars[2],
            tile.scalars[3]};
  }

  // Where the columns are dependent, the search is among the combinations of the (centred) rows:
  // what is orthogonal to them changes no prediction and is only penalised. Begins anew, at zero.
  // Fails where it cannot be told what is dependent.
  void reduce(const Context& context) {
    if (reduced_ || !rounding_.resolves || d_ == 0) return stop(NewtonStatus::failed);
    Eigen::MatrixXd gram = all_.bottomRightCorner(d_, d_);
    if (job_.fit_intercept)
      gram -= all_.col(0).tail(d_) * all_.col(0).tail(d_).transpose() / all_(0, 0);
    Eigen::VectorXd size = all_.diagonal().tail(d_).cwiseSqrt();
    for (double& each : size) each = each > 0 ? each : 1;
    const Eigen::VectorXd inverse = size.cwiseInverse();
    const SymmetricEigen parts = eigh(inverse.asDiagonal() * gram * inverse.asDiagonal(), context);
    const double largest = parts.values.maxCoeff();
    int64_t kept = 0;
    for (const double value : parts.values) {
      if (value > kIndependent * largest)
        ++kept;
      else if (value > kDependent * static_cast<double>(d_) * largest)
        return stop(NewtonStatus::failed);
    }
    // The range of D S D is that of D times the eigenvectors of S.
    const Eigen::MatrixXd range = size.asDiagonal() * parts.vectors.rightCols(kept);
    const int64_t first = job_.fit_intercept ? 1 : 0;
    coef_basis_ = Eigen::MatrixXd::Zero(d_, first + kept);
    coef_basis_.rightCols(kept) = range.array().rowwise() / range.colwise().norm().array();
    Eigen::MatrixXd mixed(basis_.rows(), first + kept);
    if (first == 1) mixed.col(0) = basis_.col(0);
    mixed.rightCols(kept) = basis_.rightCols(d_) * coef_basis_.rightCols(kept);
    basis_ = std::move(mixed);
    penalty_ = coef_basis_.transpose() * coef_basis_;
    free_ = Eigen::VectorXd::Zero(first + kept);
    warm_ = false;
    reduced_ = true;
  }

  // Newton's step at (free_, scale_) for these inliers. Where they are too few to decide all
  // coefficients, as little of all rows' Gram as helps joins them.
  bool direct(const Sums& sums, bool bounded, const Context& context) {
    Eigen::VectorXd downhill = sums.products + epsilon_ * scale_ * sums.signs;
    downhill -= job_.alpha * scale_ * penalty_ * free_;
    Eigen::MatrixXd hessian = sums.gram;
    if (!bounded && sums.squares > 0)
      hessian -= sums.products * sums.products.transpose() / sums.squares;
    hessian += job_.alpha * scale_ * penalty_;
    for (double damping = kLeastDamping; damping <= kMostDamping; damping *= kDampingFactor) {
      const Cholesky factor(hessian + damping * all_, context);
      if (!(factor.reciprocal_condition() > kDampedCondition * condition_)) continue;
      Eigen::MatrixXd step = downhill;
      factor.solve(step);
      step_ = step.col(0);
      gradient_ = 2 / scale_ * downhill.cwiseAbs().maxCoeff();
      decrement_ = 2 / scale_ * downhill.dot(step_);
      return step_.allFinite();
    }
    return false;
  }

  const HuberJob& job_;
  Rounding rounding_;
  double epsilon_;
  int64_t d_;
  Eigen::VectorXd shift_;
  double target_shift_;
  bool warm_;
  Eigen::MatrixXd basis_, coef_basis_;  // point = basis * free, coefficients = coef_basis * free
  Eigen::MatrixXd penalty_;             // coef_basis' coef_basis
  Eigen::VectorXd free_, step_;
  Eigen::MatrixXd all_;  // Gram of all rows
  double scale_ = 1, least_ = 0, unresolved_ = 0, weight_ = 0, condition_ = 0;
  double gradient_ = 0, decrement_ = 0, shrink_ = kShrink;
  int64_t level_ = -1;  // iterations when the bound was lowered
  bool started_ = false, running_ = true, stepping_ = false, stuck_ = false, predicted_ = false,
       closing_ = false, reduced_ = false;
  HuberModel model_;
};

// Median of some targets: outliers do not move it.
template <class T>
double provisional_median(VectorView<const T> y) {
  const int64_t n = std::min<int64_t>(y.size, 101);
  std::vector<double> some(n);
  for (int64_t k = 0; k < n; ++k) some[k] = static_cast<double>(y[y.size / n * k]);
  for (double& value : some)
    if (!std::isfinite(value)) return 0;
  std::nth_element(some.begin(), some.begin() + n / 2, some.end());
  return n > 0 ? some[n / 2] : 0;
}

void for_each_job(int64_t d, int64_t count, const Context& context,
                  const std::function<void(int64_t)>& task) {
  if (d >= kLargeMatrix || count == 1)
    for (int64_t i = 0; i < count; ++i) task(i);
  else
    context.parallel_for(kStage, count, task);
}

}  // namespace

template <class T>
std::vector<HuberModel> huber_cpu(MatrixView<const T> X, VectorView<const T> y,
                                  VectorView<const T> w, const Folds& folds,
                                  const std::vector<HuberJob>& jobs, const Context& context) {
  const int64_t d = X.cols, n = X.rows;
  const TileRows<T> rows{X, y, w, folds, provisional_means(X)};
  const double shift = provisional_median(y);
  HuberRows line;
  line.folds = &folds;
  for (int64_t i = 0; i < n; ++i) {
    line.targets.push_back(static_cast<double>(y[folds.row(i)]));
    line.weights.push_back(w.empty() ? 1.0 : static_cast<double>(w[folds.row(i)]));
  }
  line.cut();
  const Rounding rounding = std::is_same_v<T, float> ? Rounding{1e-9, 1e-9, 1e-4, false}
                                                     : Rounding{1e-12, 1e-15, 1e-11, true};
  std::vector<Search> searches;
  searches.reserve(jobs.size());
  for (const HuberJob& job : jobs) searches.emplace_back(job, rows.shift, shift, rounding);
  const int64_t at_once = std::max<int64_t>(1, kLineBytes / (16 * std::max<int64_t>(n, 1)));
  while (true) {
    std::vector<TileJob<HuberLoss>> points;
    std::vector<Search*> running;
    for (Search& search : searches) {
      if (!search.running()) continue;
      running.push_back(&search);
      points.push_back(search.tile_job());
    }
    if (running.empty()) break;
    const auto count = static_cast<int64_t>(running.size());
    const auto sums = tile_pass(rows, points, kStage, context);
    for_each_job(d, count, context, [&](int64_t i) {
      Search& search = *running[i];
      search.started() ? search.choose(sums[i], context) : search.begin(sums[i], context);
    });
    std::erase_if(running, [](const Search* search) { return !search->stepping(); });
    for (size_t begin = 0; begin < running.size(); begin += at_once) {
      const size_t end = std::min(running.size(), begin + static_cast<size_t>(at_once));
      std::vector<int64_t> splits;
      std::vector<Eigen::MatrixXd> pairs;
      for (size_t i = begin; i < end; ++i) {
        splits.push_back(running[i]->split());
        pairs.push_back(running[i]->points());
      }
      auto products = tile_products(rows, splits, pairs, kStage, context);
      for_each_job(d, static_cast<int64_t>(end - begin), context, [&](int64_t i) {
        running[begin + i]->move(line, std::move(products[i]), context);
      });
    }
  }
  std::vector<HuberModel> models;
  for (const Search& search : searches) models.push_back(search.model());
  return models;
}

template std::vector<HuberModel> huber_cpu(MatrixView<const float>, VectorView<const float>,
                                           VectorView<const float>, const Folds&,
                                           const std::vector<HuberJob>&, const Context&);
template std::vector<HuberModel> huber_cpu(MatrixView<const double>, VectorView<const double>,
                                           VectorView<const double>, const Folds&,
                                           const std::vector<HuberJob>&, const Context&);

}  // namespace manyfit
