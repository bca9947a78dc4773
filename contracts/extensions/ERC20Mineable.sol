// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IERC20Mineable} from "../interfaces/IERC20Mineable.sol";
import {Sequenced} from "./Sequenced.sol";

/// @dev Mining under the cap that all issuance shares.
abstract contract ERC20Mineable is IERC20Mineable, ERC20Capped, Sequenced {
    /// @dev One retarget changes the target at most by this factor, either way.
    uint256 private constant MAX_RETARGET_FACTOR = 4;

    uint256 private immutable _initialReward;
    uint64 private immutable _halvingInterval;
    uint64 private immutable _retargetInterval;
    uint64 private immutable _epochSeconds;
    uint256 private immutable _initialTarget;
    uint256 private immutable _minimumTarget;
    uint256 private immutable _maximumTarget;

    bytes32 private _challenge;
    uint256 private _target;

    // One slot: both change with every retarget, the epoch with every solution.
    uint128 private _epoch;
    uint128 private _retargetedAt;

    constructor(MiningRules memory rules) {
        bool intervals = rules.halvingInterval > 0 && rules.retargetInterval > 0 && rules.epochSeconds > 0;
        bool targets =
            rules.minimumTarget > 0 &&
                rules.minimumTarget <= rules.target &&
                rules.target <= rules.maximumTarget &&
                // A target that grows by the largest factor still fits.
                rules.maximumTarget <= type(uint256).max / MAX_RETARGET_FACTOR;
        if (!intervals || !targets) revert MiningRulesInvalid(rules);

        _initialReward = rules.reward;
        _halvingInterval = rules.halvingInterval;
        _retargetInterval = rules.retargetInterval;
        _epochSeconds = rules.epochSeconds;
        _initialTarget = rules.target;
        _minimumTarget = rules.minimumTarget;
        _maximumTarget = rules.maximumTarget;

        _challenge = keccak256(abi.encode(block.chainid, address(this), blockhash(block.number - 1)));
        _setTarget(rules.target);
    }

    /// @inheritdoc IERC20Mineable
    function mine(address beneficiary, uint256 nonce) public virtual {
        uint256 paid = reward();
        if (paid == 0) revert MiningExhausted(_epoch);

        bytes32 solved = _challenge;
        bytes32 digest = digestOf(beneficiary, nonce);
        if (uint256(digest) > _target) revert InsufficientWork(digest, _target);

        uint256 solution = ++_epoch;
        // The block's hash keeps a miner from working on challenges that nobody else can know yet.
        _challenge = keccak256(abi.encode(digest, blockhash(block.number - 1)));

        _mint(beneficiary, paid);
        emit Mined(beneficiary, solution, paid, solved, digest, nonce, _nextSequence());

        if (solution % _retargetInterval == 0) _retarget();
    }

    /// @inheritdoc IERC20Mineable
    function digestOf(address beneficiary, uint256 nonce) public view virtual returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), _challenge, beneficiary, nonce));
    }

    /// @inheritdoc IERC20Mineable
    function challenge() public view virtual returns (bytes32) {
        return _challenge;
    }

    /// @inheritdoc IERC20Mineable
    function target() public view virtual returns (uint256) {
        return _target;
    }

    /// @inheritdoc IERC20Mineable
    function epoch() public view virtual returns (uint256) {
        return _epoch;
    }

    /// @inheritdoc IERC20Mineable
    function reward() public view virtual returns (uint256) {
        return Math.min(_initialReward >> (_epoch / _halvingInterval), cap() - totalSupply());
    }

    /// @inheritdoc IERC20Mineable
    function miningRules() public view virtual returns (MiningRules memory) {
        return
            MiningRules({
                reward: _initialReward,
                halvingInterval: _halvingInterval,
                retargetInterval: _retargetInterval,
                epochSeconds: _epochSeconds,
                target: _initialTarget,
                minimumTarget: _minimumTarget,
                maximumTarget: _maximumTarget
            });
    }

    /// @dev Makes the target follow the time that the last epochs took, within the factor and the two bounds.
    function _retarget() private {
        uint256 expected = uint256(_epochSeconds) * _retargetInterval;
        uint256 shortest = Math.ceilDiv(expected, MAX_RETARGET_FACTOR);
        uint256 longest = expected * MAX_RETARGET_FACTOR;
        uint256 elapsed = Math.min(Math.max(block.timestamp - _retargetedAt, shortest), longest);
        uint256 proposed = Math.mulDiv(_target, elapsed, expected);
        _setTarget(Math.min(Math.max(proposed, _minimumTarget), _maximumTarget));
    }

    function _setTarget(uint256 newTarget) private {
        _target = newTarget;
        _retargetedAt = uint128(block.timestamp);
        emit Retargeted(_epoch, newTarget, _nextSequence());
    }
}
